package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// pgbenchScript is one transaction of yardstick A.
const pgbenchScript = `INSERT INTO bench_events (id, stream, version, type, data)
	SELECT id, 'entity:' || id, 1, 'entity.created', convert_to(repeat('event ', 66), 'UTF8') FROM (SELECT gen_random_uuid() AS id) AS new;
`

// pgbench runs yardstick A; ok is false when the program is not installed.
func (b *bench) pgbench(ctx context.Context, clients int) (sample, bool, error) {
	program := b.database.program("pgbench")
	if program == "" {
		return sample{}, false, nil
	}
	dir, err := os.MkdirTemp(b.dir, "pgbench-")
	if err != nil {
		return sample{}, true, err
	}
	script := filepath.Join(dir, "insert.sql")
	if err := os.WriteFile(script, []byte(pgbenchScript), 0o600); err != nil {
		return sample{}, true, err
	}
	before, err := cpuNow(0, b.database.pid)
	if err != nil {
		return sample{}, true, err
	}
	_, state, err := run(ctx, dir, program, "--no-vacuum", "--protocol=prepared", "--file="+script, "--log",
		"--client="+strconv.Itoa(clients), "--jobs=2", fmt.Sprintf("--time=%.0f", b.duration.Seconds()), b.database.url)
	if err != nil {
		return sample{}, true, err
	}
	after, err := cpuNow(0, b.database.pid)
	if err != nil {
		return sample{}, true, err
	}
	times, err := readPgbenchLogs(dir)
	if err != nil {
		return sample{}, true, err
	}
	result := loadResult{Operations: len(times), Duration: b.duration, CPUSeconds: (state.UserTime() + state.SystemTime()).Seconds()}
	result.P50, result.P99, result.Max = quantiles(times)
	return newSample(result, before, after), true, os.RemoveAll(dir)
}

// readPgbenchLogs reads the time that each transaction took: the third field, in
// microseconds.
func readPgbenchLogs(dir string) ([]time.Duration, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "pgbench_log.*"))
	if err != nil {
		return nil, err
	}
	var times []time.Duration
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(file)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 3 {
				continue
			}
			microseconds, err := strconv.Atoi(fields[2])
			if err != nil {
				return nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
			}
			times = append(times, time.Duration(microseconds)*time.Microsecond)
		}
		if err := errors.Join(lines.Err(), file.Close()); err != nil {
			return nil, err
		}
	}
	return times, nil
}

// inserting is yardstick A where there is no pgbench: the same INSERT on one
// connection of pgx.
func (l *load) inserting(ctx context.Context) (operation, func(), error) {
	pool, err := openPool(ctx, l.spec.Database, 1)
	if err != nil {
		return nil, nil, err
	}
	return func() (time.Duration, error) {
		id, err := uuid.NewV7()
		if err != nil {
			return 0, err
		}
		data := l.requests.airports[l.requests.sent.Add(1)%int64(len(l.requests.airports))]
		began := time.Now()
		_, err = pool.Exec(ctx, insertOne, id, "entity:"+id.String(), data)
		return time.Since(began), err
	}, pool.Close, nil
}
