-- Rows with a version, for the freshness checker.
CREATE TABLE item (id bigint PRIMARY KEY, ver bigint NOT NULL, size bigint NOT NULL, colors text[] NOT NULL);
CREATE TABLE box (id bigint PRIMARY KEY, ver bigint NOT NULL, size bigint NOT NULL, colors text[] NOT NULL);

-- The newest version of a row that was ever written, of those too that are gone.
CREATE TABLE newest (section text, id bigint, ver bigint NOT NULL, PRIMARY KEY (section, id));

-- Writes a version of a row; without a size the row goes. Nothing happens where it is not newer than what was written
-- before: whoever does not know whether a write has happened may repeat it.
CREATE FUNCTION put(section_ text, id_ bigint, ver_ bigint, size_ bigint, colors_ text[]) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE newest SET ver = ver_ WHERE section = section_ AND id = id_ AND ver < ver_;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF size_ IS NULL THEN
        EXECUTE format('DELETE FROM %I WHERE id = $1', section_) USING id_;
    ELSE
        EXECUTE format('INSERT INTO %I VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE
            SET ver = excluded.ver, size = excluded.size, colors = excluded.colors', section_)
            USING id_, ver_, size_, colors_;
    END IF;
    RETURN true;
END $$;

-- Some fetches take their time after they have seen the rows: what happens meanwhile must strike them.
CREATE TABLE napping (share float NOT NULL, seconds float NOT NULL);
INSERT INTO napping VALUES (0.2, 0.005);
CREATE FUNCTION nap() RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE napping public.napping := (SELECT n FROM public.napping n);
BEGIN
    IF random() < napping.share THEN
        PERFORM pg_sleep(napping.seconds * random());
    END IF;
    RETURN 0;
END $$;
