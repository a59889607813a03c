-- Rows for the guide to tenants.
CREATE TABLE cart (id bigint PRIMARY KEY, shop uuid NOT NULL, total numeric NOT NULL);
INSERT INTO cart VALUES
    (1, '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b', 12), (2, '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b', 20),
    (3, '00000000-0000-4000-8000-000000000001', 7);
