-- Rows with a version, for the checker in a cluster: each change that a version makes is noted, in order.
CREATE TABLE item (id bigint PRIMARY KEY, ver bigint NOT NULL DEFAULT 1, key text);
CREATE TABLE shelf (id bigint PRIMARY KEY, ver bigint NOT NULL DEFAULT 1, key text);
CREATE TABLE rate (id bigint PRIMARY KEY, ver bigint NOT NULL DEFAULT 1, key text);
CREATE TABLE book (id bigint PRIMARY KEY, ver bigint NOT NULL DEFAULT 1, key text, shelf_id bigint NOT NULL REFERENCES shelf);
CREATE TABLE purchase (id bigint PRIMARY KEY, ver bigint NOT NULL DEFAULT 1, key text, shop bigint NOT NULL,
    rate_id bigint NOT NULL REFERENCES rate);
INSERT INTO item SELECT id FROM generate_series(1, 6) id;
INSERT INTO shelf SELECT id FROM generate_series(1, 3) id;
INSERT INTO rate SELECT id FROM generate_series(1, 3) id;
INSERT INTO book SELECT id, 1, NULL, 1 + id % 3 FROM generate_series(1, 6) id;
INSERT INTO purchase SELECT id, 1, NULL, 1 + id % 2, 1 + id % 3 FROM generate_series(1, 6) id;

-- `key` is a job's; what is written past the module has none.
CREATE TABLE effect (seq bigint GENERATED ALWAYS AS IDENTITY, section text NOT NULL, id bigint NOT NULL, ver bigint NOT NULL, key text);
CREATE FUNCTION note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect (section, id, ver, key) VALUES (TG_TABLE_NAME, NEW.id, NEW.ver, NEW.key);
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON item FOR EACH ROW EXECUTE FUNCTION note_effect();
CREATE TRIGGER note AFTER UPDATE ON shelf FOR EACH ROW EXECUTE FUNCTION note_effect();
CREATE TRIGGER note AFTER UPDATE ON rate FOR EACH ROW EXECUTE FUNCTION note_effect();
CREATE TRIGGER note AFTER UPDATE ON book FOR EACH ROW EXECUTE FUNCTION note_effect();
CREATE TRIGGER note AFTER UPDATE ON purchase FOR EACH ROW EXECUTE FUNCTION note_effect();
