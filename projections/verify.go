package projections

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A verify builds a shadow of the view from the log and compares it with the live one
// row by row:
//
//	build the shadow beside the live view, as a rebuild does
//	begin a transaction that sees one snapshot    live rows and position P belong together
//	fold what the shadow lacks to P               its own writes it sees
//	compare the tables, in SQL                    nobody waits meanwhile
//	roll back, drop the shadow

const (
	// maxDifferences bounds the rows that a report names; all are counted.
	maxDifferences = 100
	// compareTimeout bounds the comparison: a minute for some ten million rows.
	compareTimeout = 10 * time.Minute
	// schedulePause is how long a verify that nobody waits for rests after a batch, as a
	// multiple of what the batch took, so that others have the machine.
	schedulePause = 3
)

// Report says how the rows of a view differ from what the log makes of it.
type Report struct {
	View   string `json:"view"`
	Schema string `json:"schema"`
	// Position is the one that was compared at.
	Position int64 `json:"position"`
	// Rows are those that were compared.
	Rows        int64 `json:"rows"`
	Differences int64 `json:"differences"`
	// Details are the first of them, at most a hundred.
	Details []Difference `json:"details,omitempty"`
}

// The kinds of differences.
const (
	differenceMissing = "missing" // the log has it, the view has not
	differenceExtra   = "extra"   // the view has it, the log has not
	differenceChanged = "changed"
)

// Difference is one row. It names what differs and never shows a value.
type Difference struct {
	Table string `json:"table"`
	// Key is the row's primary key, by column.
	Key  map[string]string `json:"key"`
	Kind string            `json:"kind"`
	// Columns are those that are changed.
	Columns []string `json:"columns,omitempty"`
}

// Verify holds a view against the log. Errors as of Do.
func Verify(ctx context.Context, options Options, view string, watch func(Job)) (Report, error) {
	j, err := Do(ctx, options, view, KindVerify, watch)
	if err != nil {
		return Report{}, err
	}
	return report[Report](ctx, options, j.ID)
}

// verify is the job; gently leaves the machine to others most of the time.
func (b *builder) verify(ctx context.Context, gently bool) (Report, error) {
	if err := b.begin(ctx); err != nil {
		return Report{}, err
	}
	defer b.drop(context.WithoutCancel(ctx), b.at.schema)
	if gently {
		b.pause = schedulePause
	}
	for {
		if err := b.catchUp(ctx); err != nil {
			return Report{}, err
		}
		if err := b.analyze(ctx); err != nil {
			return Report{}, err
		}
		report, done, err := b.compare(ctx)
		if err != nil || done {
			return report, err
		}
	}
}

// compare reads both from one snapshot; done is false when the live view is too far
// ahead by now.
func (b *builder) compare(ctx context.Context) (report Report, done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	tx, err := b.options.Pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return Report{}, false, fmt.Errorf("comparing with the shadow: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	began := b.at
	live, err := loadView(ctx, tx, b.projection.Name)
	switch {
	case err != nil:
		return Report{}, false, err
	case live.version != b.projection.Version:
		return Report{}, false, &versionError{view: live.version, program: b.projection.Version}
	case live.position < b.at.position:
		// The shadow has passed it: wait for the view.
		return Report{}, false, rest(ctx, lookInterval)
	case live.position-b.at.position > maxSwapEvents:
		return Report{}, false, nil
	}
	if err := b.foldTo(ctx, tx, live.position); err != nil {
		b.at = began
		if poisonReason(err) != "" {
			return Report{}, false, nil // catching up parks its stream
		}
		return Report{}, false, err
	}
	switch left, err := unsettled(ctx, tx, b.projection, live.schema); {
	case err != nil:
		return Report{}, false, err
	case left:
		b.at = began
		return Report{}, false, rest(ctx, lookInterval) // until the view has done it
	}
	if err := b.settleTo(ctx, tx); err != nil {
		return Report{}, false, err
	}
	report = Report{View: b.projection.Name, Schema: live.schema, Position: live.position}
	for _, table := range b.projection.Tables {
		if err := compareTable(ctx, tx, live.schema, b.at.schema, table, &report); err != nil {
			return Report{}, false, fmt.Errorf("comparing table %s: %w", table, err)
		}
	}
	b.at = began
	return report, true, nil
}

// column is one of a table that is compared.
type column struct {
	name  string
	isKey bool
	// asText is for types that have no equality.
	asText bool
}

func (c column) of(side string) string {
	text := side + "." + quoted(c.name)
	if c.asText {
		text += "::text"
	}
	return text
}

func columnsOf(ctx context.Context, tx pgx.Tx, schema, table string) ([]column, error) {
	rows, err := tx.Query(ctx, `
		SELECT a.attname::text, coalesce(a.attnum = ANY (i.indkey), false), a.atttypid = 'json'::regtype
		  FROM pg_attribute a
		  LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisprimary
		 WHERE a.attrelid = ($1 || '.' || $2)::regclass AND a.attnum > 0 AND NOT a.attisdropped
		 ORDER BY a.attnum`, quoted(schema), quoted(table))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (c column, err error) {
		return c, row.Scan(&c.name, &c.isKey, &c.asText)
	})
}

func compareTable(ctx context.Context, tx pgx.Tx, live, shadow, table string, report *Report) error {
	columns, err := columnsOf(ctx, tx, live, table)
	if err != nil {
		return err
	}
	room := maxDifferences - len(report.Details)
	rows, err := tx.Query(ctx, comparison(columns, quoted(live)+"."+quoted(table), quoted(shadow)+"."+quoted(table)), room)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var (
			compared, differing int64
			kind                *string
			d                   = Difference{Table: table}
		)
		if err := rows.Scan(&compared, &differing, &kind, &d.Key, &d.Columns); err != nil {
			return err
		}
		if kind == nil { // the line of figures
			report.Rows += compared
			report.Differences += differing
			continue
		}
		d.Kind = *kind
		report.Details = append(report.Details, d)
	}
	return rows.Err()
}

// comparison is a statement that gives a line of figures, and a line for each row that
// differs, as many as $1 at most.
func comparison(columns []column, live, shadow string) string {
	var join, key, differs, changed []string
	first := ""
	for _, c := range columns {
		name := quoted(c.name)
		if c.isKey {
			first = name
			join = append(join, "l."+name+" = s."+name)
			key = append(key, fmt.Sprintf("'%s', coalesce(l.%s, s.%s)::text", c.name, name, name))
			continue
		}
		different := c.of("l") + " IS DISTINCT FROM " + c.of("s")
		differs = append(differs, different)
		changed = append(changed, fmt.Sprintf("CASE WHEN %s THEN '%s' END", different, c.name))
	}
	missing, extra := "l."+first+" IS NULL", "s."+first+" IS NULL"
	return `
		WITH differing AS MATERIALIZED (
		  SELECT CASE WHEN ` + missing + ` THEN '` + differenceMissing + `' WHEN ` + extra + ` THEN '` + differenceExtra + `' ELSE '` + differenceChanged + `' END AS kind,
		         json_build_object(` + strings.Join(key, ", ") + `) AS key,
		         CASE WHEN NOT (` + missing + ` OR ` + extra + `) THEN array_remove(ARRAY[` + strings.Join(changed, ", ") + `]::text[], NULL) END AS columns
		    FROM ` + live + ` l FULL JOIN ` + shadow + ` s ON ` + strings.Join(join, " AND ") + `
		   WHERE ` + strings.Join(append([]string{missing, extra}, differs...), " OR ") + `)
		SELECT (SELECT count(*) FROM ` + live + `), (SELECT count(*) FROM differing), NULL::text, NULL::json, NULL::text[]
		UNION ALL (SELECT 0, 0, kind, key, columns FROM differing ORDER BY key::text LIMIT $1)`
}
