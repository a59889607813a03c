CREATE TABLE product (id int PRIMARY KEY, name text NOT NULL, price numeric NOT NULL, category text NOT NULL);
INSERT INTO product VALUES (1, 'Desk lamp', 29.90, 'lamps'), (2, 'Floor lamp', 89.00, 'lamps'), (3, 'Chair', 59.00, 'chairs'), (4, 'Stool', 45.50, 'chairs');
INSERT INTO product SELECT n, 'Product ' || n, n, 'rest' FROM generate_series(5, 2000) n;
