-- Rows for the worked example of the catalog's page, whose tables stand on that page.
INSERT INTO category VALUES (1, 'lamps'), (2, 'chairs'), (3, 'tables, large');
INSERT INTO product VALUES
    (1, 'Desk lamp', 29.90, 1, NULL), (2, 'Floor lamp', 89.00, 1, now() + interval '9 min'), (3, 'Armchair', 240.00, 2, NULL),
    (4, 'Stool', 45.50, 2, NULL), (5, 'Oak table', 990.00, 3, NULL);
INSERT INTO cart VALUES
    (1, '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b', 12), (2, '6f1f7a4e-0c5b-4b7a-9d53-0f1f0c1e2a3b', 20),
    (3, '00000000-0000-4000-8000-000000000001', 7);
