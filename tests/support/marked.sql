-- Beside bear.sql: each application of a job is a row of `effect`, in the order in which rows were changed.
CREATE TABLE effect (
    seq     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mark    text   NOT NULL,
    bear_id bigint NOT NULL
);
CREATE INDEX effect_mark ON effect (mark);

-- What only COMMIT would refuse.
CREATE TABLE den (id bigint PRIMARY KEY);
INSERT INTO den VALUES (1), (2);
ALTER TABLE bear ADD COLUMN den bigint REFERENCES den (id) DEFERRABLE INITIALLY DEFERRED;

-- Bears that jobs create have ids above all that tests choose.
SELECT setval('bear_id_seq', 1000000);
