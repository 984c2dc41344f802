package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/reactdjango-hub/backend/domain/entity"
	"github.com/reactdjango-hub/backend/eventstore"
	"github.com/reactdjango-hub/backend/internal/local"
	"github.com/reactdjango-hub/backend/migrations"
	"github.com/reactdjango-hub/backend/projections"
)

// The catalogue is many entities of three types, each of an airports row, in a log on the
// yardsticks' server, with its views. A query API of its own answers from it.

const (
	catalogueLog = "bench_catalogue"
	// defaultEntities keeps the usual run short; the goals speak of a million.
	defaultEntities = 100_000
	// laterPage is the page that is set against the first.
	laterPage = 1000
	// searchRate is how many searches a second the goal speaks of.
	searchRate = 50
	// maxKeptPaths are asked for in turn.
	maxKeptPaths = 2000
)

// Goals of the catalogue.
const (
	maxListP99   = 0.050
	maxSearchP99 = 0.100
	maxPageCPU   = 1.3
	// maxPastCPU is how much more a list of the past may cost than one of now.
	maxPastCPU = 3
)

var catalogueTypes = []string{"airport", "airfield", "heliport"}

// catalogue is the filled log with its query API.
type catalogue struct {
	server  *child
	broker  *local.NATS // which the query API wants; nothing goes through it
	address string
	lists   []string
	reads   []string
	search  []string
	related []string
	// asOf is a time by which all was recorded.
	asOf string
	// later is where the page laterPage begins, by cursor.
	later string
}

func (b *bench) openCatalogue(ctx context.Context) (*catalogue, error) {
	if b.catalogue != nil {
		return b.catalogue, nil
	}
	address, err := b.database.makeLog(ctx, catalogueLog)
	if err != nil {
		return nil, err
	}
	if err := migrations.Projections.Up(ctx, address); err != nil {
		return nil, err
	}
	airports, err := readAirports(airportsFile)
	if err != nil {
		return nil, err
	}
	if err := fillCatalogue(ctx, address, b.entities, airports); err != nil {
		return nil, fmt.Errorf("filling a log of %d entities: %w", b.entities, err)
	}
	if err := buildViews(ctx, address); err != nil {
		return nil, err
	}
	c := &catalogue{asOf: time.Now().UTC().Format(time.RFC3339)}
	if err := c.ask(ctx, address, airports); err != nil {
		return nil, err
	}
	b.catalogue = c
	if err := c.serve(ctx, b, address); err != nil {
		return nil, err
	}
	return c, c.walk(ctx, b.hub.token, min(laterPage, b.entities/len(catalogueTypes)/pageSize-1))
}

// buildViews brings all views to the end of the log, at once as a rebuild does.
func buildViews(ctx context.Context, address string) error {
	pool, err := eventstore.OpenPool(ctx, address, eventstore.RoleProjector, 4)
	if err != nil {
		return err
	}
	defer pool.Close()
	options := projections.Options{Pool: pool, Store: eventstore.New(pool), Codec: eventstore.NewCodec(entity.Kinds()...)}
	for _, view := range projections.All() {
		if err := projections.Rebuild(ctx, options, view.Name, nil); err != nil {
			return err
		}
		if _, err := projections.Prune(ctx, options, view.Name); err != nil {
			return err
		}
	}
	return nil
}

// prefillCatalogue is prefill for events of its own: those of types, and entities of them in
// turn, each with the attributes of an airport.
const prefillCatalogue = `
	INSERT INTO events
	SELECT n, n, (SELECT epoch FROM log_epochs), i.id, 'bench', i.stream, 1, i.type, 1, ARRAY[i.stream], '{}', convert_to(i.data, 'UTF8'),
	       '{"sub":"ana","person":"ana"}', NULL, NULL, 'filled-' || n, 'filled-' || n, NULL, i.id, i.at, i.at, sha256(int8send(n))
	  FROM generate_series($1::bigint, $2::bigint) AS n
	 CROSS JOIN LATERAL (
	   SELECT (lpad(to_hex(n), 12, '0') || '7000' || substr(md5(n::text), 1, 16))::uuid AS id,
	          -- Not in the order of anything that lists filter by.
	          now() - interval '1 day' + n * interval '1 microsecond' AS at) t
	 CROSS JOIN LATERAL (
	   SELECT t.id, t.at, 'entity_type:' || ($3::text[])[n] AS stream, 'entity_type.defined' AS type,
	          '{"name":"' || ($3::text[])[n] || '","title":"","schema":{},"search":["name","city"]}' AS data
	    WHERE n <= cardinality($3::text[])
	   UNION ALL
	   SELECT t.id, t.at, 'entity:' || t.id, 'entity.created',
	          '{"type":"' || ($3::text[])[1 + n % cardinality($3::text[])] || '","key":"filled-' || n || '","attributes":' ||
	          ($4::text[])[1 + (n * 7919) % cardinality($4::text[])] || ',"tags":["bench"]}'
	    WHERE n > cardinality($3::text[])) i`

const (
	// relatedEntities refer to relatedEach others each, so that from each of the first of them
	// three steps lead to more than a page.
	relatedEntities = 20_000
	relatedEach     = 4
)

// prefillRelationships is what comes after prefillCatalogue's $1 events: of the entities $2
// to $3 each refers to the $4 whose numbers are multiples of its own, as in a tree.
const prefillRelationships = `
	INSERT INTO events
	SELECT $1 + k, $1 + k, (SELECT epoch FROM log_epochs), r.id, 'bench', r.stream, r.version, 'relationship.added', 1, ARRAY[r.stream], '{}',
	       convert_to('{"kind":"near","target_id":"' || r.target || '","source_type":"airport","target_type":"airport"}', 'UTF8'),
	       '{"sub":"ana","person":"ana"}', NULL, NULL, 'related-' || k, 'related-' || k, NULL, r.id, r.at, r.at, sha256(int8send($1 + k))
	  FROM generate_series(1, ($3::bigint - $2 + 1) * $4) AS k
	 CROSS JOIN LATERAL (
	   SELECT $2 + (k - 1) / $4 AS source, 1 + (k - 1) % $4 AS nth) s
	 CROSS JOIN LATERAL (
	   SELECT 'entity:' || (lpad(to_hex(source), 12, '0') || '7000' || substr(md5(source::text), 1, 16))::uuid AS stream, 1 + nth AS version,
	          (lpad(to_hex(other), 12, '0') || '7000' || substr(md5(other::text), 1, 16))::uuid AS target,
	          (lpad(to_hex($1 + k), 12, '0') || '7000' || substr(md5(($1 + k)::text), 1, 16))::uuid AS id,
	          now() + k * interval '1 microsecond' AS at
	     FROM (SELECT $2 + ((source - $2) * $4 + nth) % ($3 - $2 + 1) AS other) o) r`

func fillCatalogue(ctx context.Context, address string, entities int, airports [][]byte) error {
	texts := make([]string, len(airports))
	for i, airport := range airports {
		texts[i] = string(airport)
	}
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, `SET synchronous_commit = off`); err != nil {
		return err
	}
	for from := 1; from <= entities; from += prefilledAtOnce {
		if _, err := conn.Exec(ctx, prefillCatalogue, from, min(from+prefilledAtOnce-1, entities), catalogueTypes, texts); err != nil {
			return err
		}
	}
	first, last := len(catalogueTypes)+1, min(len(catalogueTypes)+relatedEntities, entities)
	if _, err := conn.Exec(ctx, prefillRelationships, entities, first, last, relatedEach); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `VACUUM ANALYZE`)
	return err
}

// ask makes the paths: lists by type and state, entities from all over, searches for names,
// every fifth of them mistyped.
func (c *catalogue) ask(ctx context.Context, address string, airports [][]byte) error {
	for i, text := range airports {
		var airport struct{ Name, City, State string }
		if err := json.Unmarshal(text, &airport); err != nil {
			return err
		}
		kind := catalogueTypes[i%len(catalogueTypes)]
		c.lists = append(c.lists, "/api/v1/entities?sort=-updated_at&type="+kind+"&attr.state="+url.QueryEscape(airport.State))
		word := []rune(airport.Name)
		if i%5 == 0 && len(word) > 5 {
			word = slices.Delete(word, 3, 4)
		}
		c.search = append(c.search, "/api/v1/entities?type="+kind+"&q="+url.QueryEscape(string(word)))
	}
	c.lists, c.search = c.lists[:min(len(c.lists), maxKeptPaths)], c.search[:min(len(c.search), maxKeptPaths)]
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, `SELECT '/api/v1/' || 'entities/' || substr(stream, 8) FROM events WHERE type = 'entity.created'
		ORDER BY md5(position::text) LIMIT $1`, maxKeptPaths)
	if err != nil {
		return err
	}
	if c.reads, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return err
	}
	rows, err = conn.Query(ctx, `SELECT DISTINCT '/api/v1/' || 'entities/' || substr(stream, 8) || '/relationships?depth=3' FROM events
		WHERE type = 'relationship.added' LIMIT $1`, maxKeptPaths)
	if err != nil {
		return err
	}
	c.related, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

// serve starts the query API; its tokens are those of the hub's development issuer.
func (c *catalogue) serve(ctx context.Context, b *bench, database string) (err error) {
	if c.address, err = freeAddress(); err != nil {
		return err
	}
	if c.broker, err = local.StartNATS(local.NATSOptions{StoreDir: filepath.Join(b.dir, "catalogue-nats"), ListenAddr: "127.0.0.1:0"}); err != nil {
		return err
	}
	output, err := os.OpenFile(filepath.Join(b.dir, "catalogue.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	command := exec.Command(b.program, "serve", "query-api")
	command.Stdout, command.Stderr = output, output
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "DEBUG=true",
		"HUB_DATA_DIR=" + b.hub.dir, "HUB_QUERY_ADDR=" + c.address, "DATABASE_URL=" + database, "IDENTITY_SERVICE_URL=http://" + b.hub.issuer, "NATS_URL=" + c.broker.URL(),
		"SECRET_KEY=of-a-benchmark-and-long-enough-for-anyone",
	}
	c.server = &child{command: command}
	if err := errors.Join(c.server.start(), output.Close()); err != nil {
		return err
	}
	served := &hub{process: c.server, address: c.address}
	if err := served.waitHealthy(ctx); err != nil {
		said, _ := os.ReadFile(filepath.Join(b.dir, "catalogue.log"))
		return fmt.Errorf("hub serve query-api: %w; it wrote: %s", err, said[max(0, len(said)-2000):])
	}
	return nil
}

func (c *catalogue) stop() {
	if c.server != nil {
		c.server.stop()
	}
	if c.broker != nil {
		c.broker.Stop()
	}
}

// pageSize is the default of lists.
const pageSize = 50

const pagedList = "/api/v1/entities?sort=key&type=airport"

// walk goes to where a page begins, as a client does.
func (c *catalogue) walk(ctx context.Context, token string, pages int) error {
	c.later = pagedList
	for range pages - 1 {
		var page struct {
			NextCursor *string `json:"next_cursor"`
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.address+c.later, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		err = errors.Join(json.NewDecoder(response.Body).Decode(&page), response.Body.Close())
		if err != nil || page.NextCursor == nil {
			return errors.Join(err, fmt.Errorf("walking to page %d: %s", pages, response.Status))
		}
		c.later = pagedList + "&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	return nil
}

// onCatalogue asks the query API for paths, in turn.
func (b *bench) onCatalogue(ctx context.Context, rate float64, paths func(*catalogue) []string) (sample, error) {
	c, err := b.openCatalogue(ctx)
	if err != nil {
		return sample{}, err
	}
	spec := b.spec("get", c.address)
	spec.Token, spec.Paths, spec.Rate = b.hub.token, paths(c), rate
	return b.load(ctx, "get", spec, c.server.pid(), b.database.pid)
}

// catalogueScenarios are those of reading among many entities.
func catalogueScenarios() []scenario {
	on := func(rate float64, paths func(*catalogue) []string) func(context.Context, *bench) (sample, error) {
		return func(ctx context.Context, b *bench) (sample, error) { return b.onCatalogue(ctx, rate, paths) }
	}
	past := func(c *catalogue) []string {
		var asOf []string
		for _, path := range c.lists {
			asOf = append(asOf, path+"&as_of="+c.asOf)
		}
		return asOf
	}
	return []scenario{
		{name: "entity", about: "one entity of -entities", needsHub: true, verdict: slowest(maxListP99),
			run: on(0, func(c *catalogue) []string { return c.reads })},
		{name: "list", about: "a page by type and attribute, by change", needsHub: true, verdict: slowest(maxListP99),
			run: on(0, func(c *catalogue) []string { return c.lists })},
		{name: "list-past", about: "the same as of a time", against: "list", cpuWithin: maxPastCPU, needsHub: true, run: on(0, past)},
		{name: "page-1", about: "a page by key, the first", needsHub: true, run: on(0, func(*catalogue) []string { return []string{pagedList} })},
		{name: "page-1000", about: "the thousandth, or of fewer the last, by cursor", against: "page-1", cpuWithin: maxPageCPU, needsHub: true,
			run: on(0, func(c *catalogue) []string { return []string{c.later} })},
		{name: "relations", about: "a page of what three relationships lead to", needsHub: true, verdict: slowest(maxListP99),
			run: on(0, func(c *catalogue) []string { return c.related })},
		{name: "search", about: "words of names, every fifth mistyped, at 50 a second", needsHub: true, verdict: slowest(maxSearchP99),
			run: on(searchRate, func(c *catalogue) []string { return c.search })},
	}
}

// slowest judges the p99, in seconds, of the round that the table shows.
func slowest(p99 float64) func([]sample) (string, bool) {
	return func(runs []sample) (string, bool) {
		s := median(runs, sample.rate)
		return fmt.Sprintf("p99 %.0f ms", p99*1000), s.P99.Seconds() <= p99
	}
}
