package projections

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What is searched of an entity is one text, made by the database of the attributes that
// its type names:
//
//	"Müller & Søn", "Привет"  ──fold──▶  " muller son 0u70u80u00tu0tx0ua "
//
// Folded are case, accents and widths, and each letter beyond ASCII becomes digits, so that
// the trigrams of pg_trgm are those of words of any language in a database of any locale:
// in one of C they would end at each such letter. Every word has a space before it, which
// makes the search for the beginning of a word one for a part of the text.
//
// When a type names other attributes, a row of search_backlog is all that the batch writes.
// Its entities are gone through later, some at a time (settle.go).

// settleEntities are looked at in one step of that, in which live batches wait: some
// 20 ms.
const settleEntities = 1000

func entitySearchDDL(schema string) string {
	return `
		CREATE TABLE ` + schema + `.entity_search (
			org    text COLLATE "C" NOT NULL,
			id     uuid             NOT NULL,
			type   text COLLATE "C" NOT NULL,
			status text             NOT NULL,
			text   text COLLATE "C" NOT NULL,
			PRIMARY KEY (org, id)
		);
		CREATE TABLE ` + schema + `.search_backlog (
			org   text COLLATE "C" NOT NULL,
			type  text COLLATE "C" NOT NULL,
			after uuid             NOT NULL, -- the entity of the type that was done last
			PRIMARY KEY (org, type)
		);` + documentFunctions(schema) + searchFunction(schema)
}

// documentFunctions make the text of an entity.
func documentFunctions(schema string) string {
	return `
		CREATE FUNCTION ` + schema + `.fold(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
			SET search_path = pg_catalog, pg_temp AS $f$
		DECLARE
			folded text := lower(normalize(value, NFKD) COLLATE "und-x-icu");
			digits constant text := '0123456789abcdefghijklmnopqrstuvwxyz';
		BEGIN
			IF octet_length(folded) > length(folded) THEN
				folded := translate(regexp_replace(folded, '[\u0300-\u036f]+', '', 'g'), 'øđłħŧıð', 'odlhtid');
				folded := replace(replace(replace(replace(folded, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe'), 'þ', 'th');
			END IF;
			IF octet_length(folded) > length(folded) THEN
				-- Letters as digits of base 36, the first of them 0 to 9 as no word of ASCII has it
				-- between letters; where words are written without spaces, each letter is one.
				SELECT string_agg(CASE
				         WHEN code < 128 THEN letter
				         WHEN letter COLLATE "und-x-icu" !~ '[[:alnum:]]' THEN ' '
				         ELSE CASE WHEN code BETWEEN 11904 AND 40959 THEN ' ' ELSE '' END
				           || CASE WHEN code < 12960 THEN '' ELSE substr(digits, code / 46656 % 36 + 1, 1) END
				           || substr(digits, code / 1296 % 36 + 1, 1) || substr(digits, code / 36 % 36 + 1, 1) || substr(digits, code % 36 + 1, 1)
				       END, '' ORDER BY nth)
				  INTO folded
				  FROM (SELECT letter, ascii(letter) AS code, nth FROM regexp_split_to_table(folded, '') WITH ORDINALITY AS u(letter, nth)) letters;
			END IF;
			RETURN regexp_replace(folded, '[^a-z0-9]+', ' ', 'g');
		END
		$f$;
		-- Texts, numbers and lists of them; at most 8,000 characters of what an entity has.
		CREATE FUNCTION ` + schema + `.document(attributes jsonb, names text[]) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
			SET search_path = pg_catalog, pg_temp AS $f$
			SELECT ' ' || btrim(` + schema + `.fold(left(coalesce(string_agg(i.item #>> '{}', ' ' ORDER BY n.nth, i.nth), ''), 8000))) || ' '
			  FROM unnest(names) WITH ORDINALITY AS n(name, nth)
			 CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(attributes -> n.name)
			           WHEN 'array' THEN attributes -> n.name ELSE jsonb_build_array(attributes -> n.name) END)
			       WITH ORDINALITY AS i(item, nth)
			 WHERE jsonb_typeof(i.item) IN ('string', 'number')
		$f$;`
}

// searchFunction is owned by a role that may read three tables and nothing more, and looks at
// the organisation in the session's hub.org and no other: row-level security on the table,
// which binds whoever asks, would keep PostgreSQL from using the index. It names no type of
// an application and no schema but its own, so that nothing in a session's settings makes
// it do anything else.
func searchFunction(schema string) string {
	return `
		SELECT public.similarity('', ''); -- loads the module: only then may its settings be named
		CREATE FUNCTION ` + schema + `.search(q text, of_type text, of_status text, most integer, sees_all boolean, names text[]) RETURNS TABLE (id uuid, rank integer)
			LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 100
			SET search_path = pg_catalog, public, pg_temp SET row_security = on SET enable_bitmapscan = on
			SET pg_trgm.word_similarity_threshold = 0.55 AS $f$
		DECLARE
			own    constant text   := nullif(current_setting('hub.org', true), '');
			types  constant text[] := ARRAY(SELECT t.name FROM ` + schema + `.entity_types t WHERE t.org = own AND t.search <> '{}' AND (of_type = '' OR t.name = of_type));
			phrase constant text   := btrim(` + schema + `.fold(left(q, 200)));
			words  constant text[] := (string_to_array(phrase, ' '))[1:16];
			-- What many entities have shows in a few of them. The index is asked for rare words
			-- alone: its lists of what is common are long.
			sample constant text[] := ARRAY(SELECT d.text FROM (SELECT * FROM ` + schema + `.entity_search d WHERE d.org = own AND d.type = ANY (types) LIMIT 200) d
			                                 WHERE ` + searchSees(schema, "sees_all", "names") + `);
			score  constant text   := '(10000 * (0.8 * strict_word_similarity($3, d.text) + 0.2 * similarity($3, d.text)))::integer';
			whole  text := format('1000 - least(length(d.text), 1000) + 1000 * (d.text LIKE %L)::integer', ' ' || phrase || '%');
			common text := '';
			rare   text := '';
			mixed  text := '';
			alike  text := '';
			odd    text := '';
			long   text := '';
			word   text;
			prefix text;
			known  boolean;
			sure   text := '';
			turned text := '';
			wide   integer;
		BEGIN
			IF own IS NULL OR phrase = '' OR types = '{}' THEN
				RETURN;
			END IF;
			-- First what has words that begin so: whole words before beginnings, then what begins
			-- with all of it, then short texts.
			FOREACH word IN ARRAY words LOOP
				prefix := '% ' || word || '%';
				whole := whole || format(' + 2000 * (d.text LIKE %L)::integer', '% ' || word || ' %');
				IF EXISTS (SELECT FROM unnest(sample) AS t(text) WHERE t.text LIKE prefix) THEN
					common := common || format(' AND d.text || '''' LIKE %L', prefix);
				ELSE
					rare := rare || format(' AND d.text LIKE %L', prefix);
				END IF;
			END LOOP;
			RETURN QUERY EXECUTE format(` + searchQuery(schema) + `, whole, CASE WHEN rare = '' THEN replace(common, ' || '''' LIKE', ' LIKE') ELSE rare || common END)
				USING own, types, phrase, most, of_status, sees_all, names;
			IF FOUND THEN
				RETURN;
			END IF;` + searchSimilar(schema) + `
		END
		$f$;
		CREATE POLICY search ON ` + schema + `.entity_search FOR SELECT TO hub_search USING (true);
		CREATE POLICY search ON ` + schema + `.entity_types FOR SELECT TO hub_search USING (true);
		CREATE POLICY search ON ` + schema + `.entity_access FOR SELECT TO hub_search USING (true);
		GRANT SELECT ON ` + schema + `.entity_search, ` + schema + `.entity_types, ` + schema + `.entity_access TO hub_search;
		REVOKE EXECUTE ON FUNCTION ` + schema + `.search FROM PUBLIC;
		GRANT EXECUTE ON FUNCTION ` + schema + `.search TO hub_query;
		GRANT USAGE, CREATE ON SCHEMA ` + schema + ` TO hub_search;
		ALTER FUNCTION ` + schema + `.search OWNER TO hub_search;
		REVOKE CREATE ON SCHEMA ` + schema + ` FROM hub_search;`
}

// searchSimilar is the rest of that function: what it does when nothing was found.
func searchSimilar(schema string) string {
	return `
			-- Then what has, in place of those words that nothing has, the same with two neighbouring
			-- letters swapped, as that leaves a short word hardly a trigram; then similar ones, then
			-- less similar ones, and at last in place of any word. The index is asked for the longest.
			FOREACH word IN ARRAY words LOOP
				prefix := '% ' || word || '%';
				known := length(word) < 4 OR EXISTS (SELECT FROM unnest(sample) AS t(text) WHERE t.text LIKE prefix);
				IF NOT known THEN
					EXECUTE format('SELECT EXISTS (SELECT FROM ` + schema + `.entity_search d WHERE d.text LIKE %L AND d.org || '''' = $1 AND d.type || '''' = ANY ($2) AND ` + searchSees(schema, "$3", "$4") + `)', prefix)
					   INTO known USING own, types, sees_all, names;
				END IF;
				IF known THEN
					sure := sure || format(' AND d.text || '''' LIKE %L', prefix);
				ELSE
					wide := CASE WHEN word ~ '^([0-9][0-9a-z]{2}){3,}$' THEN 3 ELSE 1 END; -- of letters beyond ASCII
					turned := turned || (SELECT format(' AND (%s)', string_agg(format('d.text LIKE %L', '% ' ||
					            overlay(word PLACING substr(word, at + wide, wide) || substr(word, at, wide) FROM at) || '%'), ' OR '))
					            FROM generate_series(1, least(length(word), wide * ` + mostSwapped + `) - 2 * wide + 1, wide) AS g(at));
					mixed := mixed || format(' AND d.text || '''' %%> %L', word);
					odd := CASE WHEN length(word) > length(odd) THEN word ELSE odd END;
				END IF;
				alike := alike || CASE WHEN length(word) < 4 THEN format(' AND d.text || '''' LIKE %L', prefix)
				                       ELSE format(' AND (d.text || '''' LIKE %L OR d.text || '''' %%> %L)', prefix, word) END;
				long := CASE WHEN length(word) > length(long) THEN word ELSE long END;
			END LOOP;
			IF odd <> '' THEN
				RETURN QUERY EXECUTE format(` + searchQuery(schema) + `, score, turned || sure) USING own, types, phrase, most, of_status, sees_all, names;
				IF FOUND THEN
					RETURN;
				END IF;
			END IF;
			FOR attempt IN 1 .. 3 LOOP
				IF attempt = 2 THEN
					PERFORM set_config('pg_trgm.word_similarity_threshold', '0.35', true);
				END IF;
				IF attempt < 3 AND odd <> '' THEN
					RETURN QUERY EXECUTE format(` + searchQuery(schema) + `, score, format(' AND d.text %%> %L', odd) || mixed || sure) USING own, types, phrase, most, of_status, sees_all, names;
				ELSIF attempt = 3 AND length(long) >= 4 THEN
					RETURN QUERY EXECUTE format(` + searchQuery(schema) + `, score, format(' AND (d.text LIKE %L OR d.text %%> %L)', '% ' || long || '%', long) || alike)
						USING own, types, phrase, most, of_status, sees_all, names;
				END IF;
				EXIT WHEN FOUND AND (attempt = 3 OR odd <> '');
			END LOOP;`
}

// searchQuery is the text of a query, for format with a rank and with conditions. Each of
// its rows is ranked, so that there are only as many as are wanted.
func searchQuery(schema string) string {
	return `'SELECT d.id, %s FROM (
					SELECT * FROM ` + schema + `.entity_search d WHERE d.org = $1 AND d.type = ANY ($2) AND ($5 = ''all'' OR d.status = $5)
					   AND ` + searchSees(schema, "$6", "$7") + ` %s LIMIT $4) d'`
}

// searchSees is the condition that who searches may see the entity of a text: what is
// hidden must neither be found nor keep what is only similar from being looked for.
func searchSees(schema, seesAll, names string) string {
	return `(coalesce(` + seesAll + `, false) OR NOT EXISTS (SELECT FROM ` + schema + `.entity_access a WHERE a.org = d.org AND a.id = d.id
					   AND NOT coalesce(a.readers && ` + names + ` AND NOT a.denied && ` + names + `, false)))`
}

// mostSwapped are the letters of a word, from its beginning, in which two neighbours may be
// swapped: of longer words trigrams enough stay as they are.
const mostSwapped = "12"

// entitySearchIndexes: the list of what is not in the index yet is searched each time, so
// it is kept short.
func entitySearchIndexes(schema string) string {
	return `
		CREATE INDEX entity_search_text ON ` + schema + `.entity_search USING gin (text gin_trgm_ops) WITH (gin_pending_list_limit = 256);
		CREATE INDEX entity_search_type ON ` + schema + `.entity_search (org, type);`
}

// searched are the entities whose attributes or status the batch has changed.
func (f *entityFold) searched() (orgs []string, ids [][16]byte) {
	for _, c := range f.entities {
		if c.created || c.status != "" || len(c.set) > 0 || len(c.removed) > 0 {
			orgs, ids = append(orgs, c.org), append(ids, c.id)
		}
	}
	return orgs, ids
}

// indexEntities makes the texts of entities whose types are searched. Where no type is,
// nothing is looked up.
func indexEntities(schema string) string {
	return `
		INSERT INTO ` + schema + `.entity_search AS d (org, id, type, status, text)
		SELECT e.org, e.id, e.type, e.status, ` + schema + `.document(e.attributes, t.search)
		  FROM unnest($1::text[], $2::uuid[]) AS u(org, id)
		  JOIN ` + schema + `.entities e ON e.org = u.org AND e.id = u.id
		  JOIN ` + schema + `.entity_types t ON t.org = e.org AND t.name = e.type AND t.search <> '{}'
		 WHERE EXISTS (SELECT FROM ` + schema + `.entity_types WHERE search <> '{}')
		    ON CONFLICT (org, id) DO UPDATE SET status = excluded.status, text = excluded.text
		 WHERE d.text <> excluded.text OR d.status <> excluded.status`
}

// noteSearchChanges puts the types into the backlog that have entities and name other
// attributes than before.
func noteSearchChanges(schema string) string {
	return `
		INSERT INTO ` + schema + `.search_backlog (org, type, after)
		SELECT u.org, u.name, '00000000-0000-0000-0000-000000000000'
		  FROM unnest($1::text[], $2::text[], $3::text[]) AS u(org, name, search)
		  LEFT JOIN ` + schema + `.entity_types t ON t.org = u.org AND t.name = u.name
		 WHERE coalesce(t.search, '{}') <> u.search::text[] AND EXISTS (SELECT FROM ` + schema + `.entities e WHERE e.org = u.org AND e.type = u.name)
		    ON CONFLICT (org, type) DO UPDATE SET after = excluded.after`
}

func searchArrays(changes []*typeChange) []any {
	var orgs, names, search []string
	for _, c := range changes {
		orgs, names, search = append(orgs, c.org), append(names, c.name), append(search, arrayLiteral(c.search))
	}
	return []any{orgs, names, search}
}

// settleEntitySearch goes on with the first type of the backlog: it makes the texts of
// its next entities, or takes them away when nothing of it is searched any more.
func settleEntitySearch(ctx context.Context, tx pgx.Tx, schema string) error {
	_, err := tx.Exec(ctx, `
		WITH work AS MATERIALIZED (
			SELECT b.org, b.type, b.after, coalesce(t.search, '{}') AS search
			  FROM `+schema+`.search_backlog b LEFT JOIN `+schema+`.entity_types t ON t.org = b.org AND t.name = b.type
			 ORDER BY b.org, b.type LIMIT 1
		), page AS MATERIALIZED (
			SELECT e.org, e.id, e.type, e.status, e.attributes, w.search
			  FROM work w CROSS JOIN LATERAL (
				SELECT * FROM `+schema+`.entities e WHERE e.org = w.org AND e.id > w.after AND e.type = w.type ORDER BY e.id LIMIT $1
			  ) e
		), made AS (
			INSERT INTO `+schema+`.entity_search AS d (org, id, type, status, text)
			SELECT org, id, type, status, `+schema+`.document(attributes, search) FROM page WHERE search <> '{}'
			    ON CONFLICT (org, id) DO UPDATE SET status = excluded.status, text = excluded.text
			 WHERE d.text <> excluded.text OR d.status <> excluded.status
		), taken AS (
			DELETE FROM `+schema+`.entity_search d USING page p WHERE p.search = '{}' AND d.org = p.org AND d.id = p.id
		), moved AS (
			UPDATE `+schema+`.search_backlog b SET after = (SELECT id FROM page ORDER BY id DESC LIMIT 1)
			  FROM work w WHERE b.org = w.org AND b.type = w.type AND (SELECT count(*) FROM page) = $1
		)
		DELETE FROM `+schema+`.search_backlog b USING work w WHERE b.org = w.org AND b.type = w.type AND (SELECT count(*) FROM page) < $1`, settleEntities)
	if err != nil {
		return fmt.Errorf("making what is searched of entities: %w", err)
	}
	return nil
}
