-- Few bears, so that a test can say what each query returns.
INSERT INTO color (id, name, hex) VALUES
    (1, 'black', '#000000'), (2, 'brown', '#663300'), (3, 'white', '#ffffff'), (4, 'grey', '#888888');
INSERT INTO bear (id, name, size) VALUES
    (1, 'Baloo', 180), (2, 'Bamse', 120), (3, 'Iorek', 320), (4, 'Ling-Ling', 100), (5, 'Yogi', 150),
    (6, 'Kumamon', 200), (7, 'Smokey', 210), (8, 'Paddington', 90);
INSERT INTO bear_colors (bear_id, color_id) VALUES
    (1, 2), (2, 2), (3, 3), (4, 1), (4, 3), (5, 2), (6, 1), (7, 1), (7, 2);
SELECT setval('bear_id_seq', 8), setval('color_id_seq', 4);
