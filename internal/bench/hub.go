package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
)

const (
	// healthInterval is how finely the time to the first healthy answer is measured.
	healthInterval = 5 * time.Millisecond
	// startTime bounds a start; a cold one makes a database.
	startTime = 2 * time.Minute
	// settleWait is how long the view may take to catch up after a load.
	settleWait = 30 * time.Second
)

// airportType has a schema, so that commands pay for checking attributes.
const airportType = `{"title":"Airport","schema":{"type":"object","required":["iata","name","country"],"properties":{
	"iata":{"type":"string","maxLength":4},"name":{"type":"string"},"city":{"type":"string"},"state":{"type":"string"},
	"country":{"type":"string"},"latitude":{"type":"number","minimum":-90,"maximum":90},
	"longitude":{"type":"number","minimum":-180,"maximum":180}}}}`

// hub is a running `hub dev` with nothing set but where it is.
type hub struct {
	process  *child
	address  string
	issuer   string
	postgres int // pid
	dir      string
	token    string
	ids      []string // entities to read and change
}

// buildHub makes the binary that is measured, as it is released: without CGO.
func buildHub(ctx context.Context, program string) error {
	command := exec.CommandContext(ctx, "go", "build", "-o", program, "./cmd/hub")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building cmd/hub: %w: %s", err, output)
	}
	return nil
}

// startHub starts `hub dev` on a data directory and tells how long it took until
// health answered 200.
func startHub(ctx context.Context, program, dir string) (*hub, time.Duration, error) {
	h := &hub{dir: dir}
	var query string
	for _, address := range []*string{&h.address, &query, &h.issuer} {
		var err error
		if *address, err = freeAddress(); err != nil {
			return nil, 0, err
		}
	}
	output, err := os.OpenFile(dir+".log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, 0, err
	}
	command := exec.Command(program, "dev")
	command.Stdout, command.Stderr = output, output
	// Nothing of the caller's own configuration gets in.
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(),
		"HUB_DATA_DIR=" + dir, "HUB_HTTP_ADDR=" + h.address, "HUB_QUERY_ADDR=" + query, "HUB_DEV_IDENTITY_ADDR=" + h.issuer,
	}
	h.process = &child{command: command}
	began := time.Now()
	if err := errors.Join(h.process.start(), output.Close()); err != nil {
		return nil, 0, err
	}
	if err := h.waitHealthy(ctx); err != nil {
		h.process.stop()
		said, _ := os.ReadFile(dir + ".log")
		return nil, 0, fmt.Errorf("hub dev: %w; it wrote: %s", err, said[max(0, len(said)-2000):])
	}
	return h, time.Since(began), nil
}

func (h *hub) waitHealthy(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	ticker := time.NewTicker(healthInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if _, err := h.request(ctx, http.MethodGet, "/api/health/", ""); err == nil {
				return nil
			}
		case <-h.process.done:
			return fmt.Errorf("ended before it was healthy: %w", h.process.err)
		case <-ctx.Done():
			return fmt.Errorf("not healthy: %w", ctx.Err())
		}
	}
}

// prepare makes the hub ready for loads.
func (h *hub) prepare(ctx context.Context) error {
	all, err := processes()
	if err != nil {
		return err
	}
	h.postgres = postgresOf(all, h.process.pid())
	h.token, err = identity.RequestToken(ctx, "http://"+h.issuer, identity.TokenRequest{
		Sub: "bench", Org: "bench", Roles: []string{"admin"}, TTLSeconds: int64((12 * time.Hour).Seconds()),
	})
	if err != nil {
		return err
	}
	_, err = h.defineType(ctx)
	return err
}

// sameSettings makes sure that the hub's PostgreSQL is run as the yardsticks' is.
func (h *hub) sameSettings(ctx context.Context, yardsticks string) error {
	url, err := local.RunningPostgres(filepath.Join(h.dir, "postgres"), "postgres")
	if err != nil {
		return err
	}
	ours, err := readSettings(ctx, url)
	if err != nil {
		return err
	}
	theirs, err := readSettings(ctx, yardsticks)
	if err == nil && ours != theirs {
		err = fmt.Errorf("the hub's PostgreSQL runs with %s, the yardsticks' with %s", ours, theirs)
	}
	return err
}

// defineType defines the type; the second time it changes nothing. It returns the
// log's position.
func (h *hub) defineType(ctx context.Context) (position string, err error) {
	header, err := h.request(ctx, http.MethodPut, "/api/v1/entity-types/airport", airportType, "Content-Type", "application/json")
	return header.Get("Hub-Position"), err
}

// settle waits until the view shows all that was written.
func (h *hub) settle(ctx context.Context) error {
	position, err := h.defineType(ctx)
	if err != nil {
		return err
	}
	_, err = h.request(ctx, http.MethodGet, "/api/v1/entity-types/airport", "",
		"Hub-Min-Position", position, "Prefer", fmt.Sprintf("wait=%.0f", settleWait.Seconds()))
	return err
}

// request sends one request and returns the header of a 2xx answer.
func (h *hub) request(ctx context.Context, method, path, body string, header ...string) (http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+h.address+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if h.token != "" {
		request.Header.Set("Authorization", "Bearer "+h.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		var said bytes.Buffer
		_, _ = io.CopyN(&said, response.Body, 500) // what there is of it
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, said.String())
	}
	_, err = io.Copy(io.Discard, response.Body)
	return response.Header, err
}
