-- Sample data for bear.sql: 8 colours and 200 bears, the same ones each time. Rows that exist are left as they are.

BEGIN;

INSERT INTO color (id, name, hex) VALUES
    (1, 'black',    '#1b1b1b'),
    (2, 'brown',    '#6b4423'),
    (3, 'white',    '#f5f5f0'),
    (4, 'grey',     '#8c8c8c'),
    (5, 'cinnamon', '#a0522d'),
    (6, 'golden',   '#d4a64a'),
    (7, 'blue',     '#54627b'),
    (8, 'cream',    '#efe3c2')
ON CONFLICT DO NOTHING;

-- Sizes lie between 40 and 799; about a seventh of the bears is between 100 and 200.
INSERT INTO bear (id, name, size)
SELECT i,
       (ARRAY['Kodiak', 'Grizzly', 'Polar', 'Panda', 'Sloth', 'Sun', 'Moon', 'Spirit', 'Cave', 'Atlas'])[1 + i % 10] || ' ' || i,
       40 + (i * 23) % 760
FROM generate_series(1, 192) AS i
ON CONFLICT DO NOTHING;

-- Names that a careless encoder gets wrong.
INSERT INTO bear (id, name, size)
SELECT 192 + n, name, 40 + ((192 + n) * 23) % 760
FROM (VALUES
    (1, 'O''Malley "the Paw"'),
    (2, E'Tab\tand\nline'),
    (3, E'back\\slash / slash'),
    (4, 'Bär Übermut'),
    (5, 'Honey 🐻🍯'),
    (6, '𠮷田の熊'),
    (7, '%s:{id}, $1; --'),
    (8, '<b>"\u0041"</b> ')
) AS odd (n, name)
ON CONFLICT DO NOTHING;

-- One to three colours each, and none for every 25th bear.
INSERT INTO bear_colors (bear_id, color_id)
SELECT DISTINCT i, 1 + (i * (k * 2 + 1) + k * 3) % 8
FROM generate_series(1, 200) AS i, generate_series(0, 2) AS k
WHERE i % 25 <> 0 AND k <= i % 3
ON CONFLICT DO NOTHING;

SELECT setval('bear_id_seq', greatest((SELECT max(id) FROM bear), (SELECT last_value FROM bear_id_seq))),
       setval('color_id_seq', greatest((SELECT max(id) FROM color), (SELECT last_value FROM color_id_seq)));

COMMIT;
ANALYZE bear, color, bear_colors;
