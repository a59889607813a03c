CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO product VALUES (1, 'lamp', 29.90), (2, 'chair', 45.50), (3, 'table', 120);
