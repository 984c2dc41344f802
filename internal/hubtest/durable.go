package hubtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/reactdjango-hub/backend/internal/local"
)

// Durable is a PostgreSQL of one test, with fsync on, which the test kills and starts
// again.
type Durable struct {
	tb       testing.TB
	options  local.PostgresOptions
	postgres *local.Postgres
}

// DurableServer makes and starts one. It is stopped and removed after the test.
func DurableServer(tb testing.TB, settings map[string]string) *Durable {
	tb.Helper()
	d := &Durable{tb: tb, options: local.PostgresOptions{
		DataDir: filepath.Join(TempDir(tb), "postgres"), Durable: true, Settings: settings,
	}}
	d.Start()
	tb.Cleanup(d.StopImmediate)
	return d
}

// Start is for after one of the others.
func (d *Durable) Start() {
	d.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), serverTime)
	defer cancel()
	var err error
	if d.postgres, err = local.StartPostgres(ctx, d.options); err != nil {
		d.tb.Fatalf("start PostgreSQL: %v", err)
	}
}

// URL is the address of a database, as superuser. It stays the same over restarts.
func (d *Durable) URL(database string) string { return d.postgres.URL(database) }

// Kill is kill -9 of the server; its backends end when they notice.
func (d *Durable) Kill() { d.postgres.Kill() }

// StopFast ends all sessions and writes everything out.
func (d *Durable) StopFast() {
	d.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), serverTime)
	defer cancel()
	if err := d.postgres.Stop(ctx); err != nil {
		d.tb.Errorf("stop PostgreSQL: %v", err)
	}
}

// StopImmediate ends all processes at once; the next start recovers.
func (d *Durable) StopImmediate() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = d.postgres.Stop(ctx) // that it was made to is what it says
}

// Keep copies the data of the server, which must be stopped, and returns a function
// that puts the copy in the place of what is there then.
func (d *Durable) Keep() (restore func()) {
	d.tb.Helper()
	data, kept := filepath.Join(d.options.DataDir, "data"), filepath.Join(TempDir(d.tb), "data")
	d.copy(data, kept)
	return func() {
		d.tb.Helper()
		if err := os.RemoveAll(data); err != nil {
			d.tb.Fatal(err)
		}
		d.copy(kept, data)
	}
}

// copy keeps owners and modes, which PostgreSQL insists on.
func (d *Durable) copy(from, to string) {
	d.tb.Helper()
	if output, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		d.tb.Fatalf("copy the data of PostgreSQL: %v: %s", err, output)
	}
}
