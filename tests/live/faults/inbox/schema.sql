-- What was done, without any uniqueness: a row each time.
CREATE TABLE public.mark (mark text NOT NULL, who text NOT NULL, id text, token int8);
-- What is to be done, written in the transaction that enqueues it.
CREATE TABLE public.sent (mark text PRIMARY KEY, space text NOT NULL, job text NOT NULL, bad bool NOT NULL, row_id int8 NOT NULL);
