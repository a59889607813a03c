INSERT INTO invoice (id) VALUES (7);
