package projections

import "strconv"

// Lists are filtered by any attribute, of which hardly any entity may have the value that
// is asked for. So that these need not be looked for among all, each entity has terms: for
// every single value a number, and one index of them all.
//
//	{"city":"Paris","address":{"zip":75}}, vip ──▶ {hash(city, Paris), hash(address, zip, 75), hash(tag vip)}
//
// Terms are of 18 bits, so that many values share one: the index is a quarter as large as
// one of the values themselves, and adding to it costs a third. What it finds is looked at
// again with the filter itself, so sharing costs some rows and no more. They are hashes of
// the type, too, as what is rare in one type may be common in another. Equal jsonb has equal
// hashes: 1 is 1.0.
//
// The members of lists have no terms; filters that may lead through a list walk.
//
// Each entity has a signature besides, of three bits for each of its terms. The indexes that
// lists of a type walk carry it, so that a walk passes over nearly all that does not match
// without reading its row: what matches has all bits of what is asked for.

const (
	// termMask keeps 18 bits: among a million entities of ten values, forty have the term of
	// another value by chance.
	termMask = "262143"
	// maxTerms bounds what one entity adds to the index. One with more has a single term,
	// which every search of its type asks for, and all bits: wideOf.
	maxTerms = 200
	// maxTermTypes bounds for how many types a search without a type asks.
	maxTermTypes = 100
	// maxWanted bounds the terms that are asked for at once.
	maxWanted = 2000
)

func entityTermsDDL(schema string) string {
	return bitsFunctions(schema) + termsFunction(schema) + holdersFunction(schema)
}

// The parts of a term: what the hashes of an organisation's type begin with, the term of a
// value and of the hash of its path, and whether a value is a single one.
func seedOf(org, kind string) string {
	return `hashtextextended(` + kind + `, hashtextextended(` + org + `, 0))`
}

func termOf(value, path string) string {
	return `(jsonb_hash_extended(` + value + `, ` + path + `) & ` + termMask + `)::integer`
}

// wideOf is the term of an entity that would have too many; no value's term is below zero.
func wideOf(seed string) string { return `(-1 - (` + seed + ` & ` + termMask + `))::integer` }

func isSingle(value string) string {
	return `jsonb_typeof(` + value + `) IN ('string', 'number', 'boolean')`
}

func termsOfTags(tags, seed string) string {
	return `ARRAY(SELECT (hashtextextended(t.tag, ` + seed + `) & ` + termMask + `)::integer FROM unnest(` + tags + `) AS t(tag))`
}

func termsOfHashes(sealed, seed string) string {
	return `ARRAY(SELECT (hashtextextended(s.value ->> 'hash', hashtextextended(s.key, ` + seed + `)) & ` + termMask + `)::integer
		           FROM jsonb_each(` + sealed + `) s WHERE s.value ? 'hash')`
}

// bitsFunctions are the bits of a term, of an attribute's value and of a text, which is a tag
// or the hash of a sealed attribute. They are written so that the planner puts them in place:
// whoever looks for entities asks by them.
func bitsFunctions(schema string) string {
	return `
		CREATE FUNCTION ` + schema + `.bits(term integer) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
			'SELECT (1::bigint << (term & 63)) | (1::bigint << ((term >> 6) & 63)) | (1::bigint << (term >> 12))';
		CREATE FUNCTION ` + schema + `.seed(org text, type text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
			'SELECT ` + seedOf("org", "type") + `';
		CREATE FUNCTION ` + schema + `.value_bits(path bigint, value jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
			'SELECT ` + schema + `.bits(` + termOf("value", "path") + `)';
		CREATE FUNCTION ` + schema + `.text_bits(path bigint, value text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
			'SELECT ` + schema + `.bits((hashtextextended(value, path) & ` + termMask + `)::integer)';`
}

// signature is the expression that makes that of terms.
func signature(schema, terms string) string {
	return `CASE WHEN ` + terms + `[1] < 0 THEN -1 ELSE coalesce((SELECT bit_or(` + schema + `.bits(b.term)) FROM unnest(` + terms + `) AS b(term)), 0) END`
}

// termsFunction makes the terms of any entity.
func termsFunction(schema string) string {
	most := strconv.Itoa(maxTerms)
	return `
		CREATE FUNCTION ` + schema + `.terms(org text, type text, attributes jsonb, tags text[], sealed jsonb) RETURNS integer[] LANGUAGE plpgsql IMMUTABLE AS $f$
		DECLARE
			seed  constant bigint := ` + seedOf("org", "type") + `;
			found integer[] := ARRAY(
				WITH RECURSIVE leaves AS (
					SELECT hashtextextended(a.key, seed) AS path, a.value FROM jsonb_each(attributes) a
					UNION ALL
					SELECT hashtextextended(m.key, l.path), m.value FROM leaves l
					 CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(l.value) WHEN 'object' THEN l.value ELSE '{}' END) m
				)
				SELECT ` + termOf("l.value", "l.path") + ` FROM leaves l WHERE ` + isSingle("l.value") + ` LIMIT ` + most + ` + 1)
				|| ` + termsOfTags("tags", "seed") + `
				|| ` + termsOfHashes("sealed", "seed") + `;
		BEGIN
			RETURN CASE WHEN cardinality(found) > ` + most + ` THEN ARRAY[` + wideOf("seed") + `] ELSE found END;
		END
		$f$;`
}

// terms is the expression that makes those of an entity. Most entities are flat and small:
// for these it takes a third of the time that the function does. A sealed attribute has two
// terms at most, that of its mask and that of its hash.
func terms(schema, org, kind, attributes, tags, sealed string) string {
	seed := seedOf(org, kind)
	return `(SELECT CASE WHEN bool_or(jsonb_typeof(a.value) = 'object')
		               OR count(*) * CASE WHEN ` + sealed + ` <> '{}' THEN 2 ELSE 1 END + cardinality(` + tags + `) > ` + strconv.Itoa(maxTerms) + `
		             THEN ` + schema + `.terms(` + org + `, ` + kind + `, ` + attributes + `, ` + tags + `, ` + sealed + `)
		             ELSE coalesce(array_agg(` + termOf("a.value", "hashtextextended(a.key, "+seed+")") + `) FILTER (WHERE ` + isSingle("a.value") + `), '{}')
		                  || CASE WHEN ` + tags + ` <> '{}' THEN ` + termsOfTags(tags, seed) + ` END
		                  || CASE WHEN ` + sealed + ` <> '{}' THEN ` + termsOfHashes(sealed, seed) + ` END END
		  FROM jsonb_each(` + attributes + `) a)`
}

// holdersFunction finds the entities of the session's organisation that may have what is
// wanted, all of it: a list of {"path", "values", "hashes"} and {"tag"}, where one of values
// or of hashes is enough. It answers null when they are more than most or it cannot tell. As
// the search, it belongs to a role that sees past row-level security, because the operators
// of the index are not leakproof. Only the index of terms fits the query.
func holdersFunction(schema string) string {
	return `
		CREATE FUNCTION ` + schema + `.holders(of_type text, wanted jsonb, most integer) RETURNS uuid[] LANGUAGE plpgsql STABLE SECURITY DEFINER
			SET search_path = pg_catalog, pg_temp SET row_security = on SET enable_seqscan = off SET enable_bitmapscan = on AS $f$
		DECLARE
			own   constant text := nullif(current_setting('hub.org', true), '');
			types text[] := ARRAY[of_type];
			one   jsonb;
			kind  text;
			name  text;
			seed  bigint;
			path  bigint;
			terms integer[];
			query text := '';
			found uuid[];
		BEGIN
			IF of_type = '' THEN
				types := ARRAY(
					WITH RECURSIVE t AS (
						(SELECT e.type FROM ` + schema + `.entities e WHERE e.org = own ORDER BY e.org, e.type LIMIT 1)
						UNION ALL
						SELECT (SELECT e.type FROM ` + schema + `.entities e WHERE e.org = own AND e.type > t.type ORDER BY e.org, e.type LIMIT 1) FROM t WHERE t.type IS NOT NULL
					)
					SELECT type FROM t WHERE type IS NOT NULL LIMIT ` + strconv.Itoa(maxTermTypes+1) + `);
			END IF;
			IF own IS NULL OR cardinality(types) > ` + strconv.Itoa(maxTermTypes) + ` THEN
				RETURN NULL;
			END IF;
			FOR one IN SELECT w.value FROM jsonb_array_elements(wanted) AS w(value) LOOP
				terms := '{}';
				FOREACH kind IN ARRAY types LOOP
					seed := hashtextextended(kind, hashtextextended(own, 0));
					terms := terms || ` + wideOf("seed") + `;
					IF one ? 'tag' THEN
						terms := terms || (hashtextextended(one ->> 'tag', seed) & ` + termMask + `)::integer;
						CONTINUE;
					END IF;
					path := seed;
					FOR name IN SELECT s.value FROM jsonb_array_elements_text(one -> 'path') AS s(value) LOOP
						path := hashtextextended(name, path);
					END LOOP;
					terms := terms || ARRAY(SELECT (jsonb_hash_extended(v.value, path) & ` + termMask + `)::integer FROM jsonb_array_elements(one -> 'values') AS v(value))
					               || ARRAY(SELECT (hashtextextended(h.value, path) & ` + termMask + `)::integer FROM jsonb_array_elements_text(one -> 'hashes') AS h(value));
				END LOOP;
				IF cardinality(terms) > ` + strconv.Itoa(maxWanted) + ` THEN
					RETURN NULL;
				END IF;
				query := query || format(' AND e.terms && %L::integer[]', terms);
			END LOOP;
			EXECUTE format('SELECT array_agg(l.id) FROM (SELECT e.id FROM ` + schema + `.entities e WHERE e.org || '''' = %L%s LIMIT %s) l', own, query, most + 1)
			   INTO found;
			RETURN CASE WHEN cardinality(found) > most THEN NULL ELSE coalesce(found, '{}') END;
		END
		$f$;
		CREATE POLICY search ON ` + schema + `.entities FOR SELECT TO hub_search USING (true);
		GRANT SELECT (org, id, type, terms) ON ` + schema + `.entities TO hub_search;
		REVOKE EXECUTE ON FUNCTION ` + schema + `.holders FROM PUBLIC;
		GRANT EXECUTE ON FUNCTION ` + schema + `.holders TO hub_query;
		GRANT USAGE, CREATE ON SCHEMA ` + schema + ` TO hub_search;
		ALTER FUNCTION ` + schema + `.holders OWNER TO hub_search;
		REVOKE CREATE ON SCHEMA ` + schema + ` FROM hub_search;`
}

// entityTermsIndexes: what is not in the index yet is gone through by each search, some
// 2 ms for a full list of this size. A smaller one is merged into the index more often,
// which costs writes.
func entityTermsIndexes(schema string) string {
	return `
		CREATE INDEX entities_terms ON ` + schema + `.entities USING gin (terms) WITH (gin_pending_list_limit = 1024);`
}
