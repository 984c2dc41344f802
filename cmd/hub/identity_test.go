package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
)

// faultyIssuer is a development issuer whose keys a test takes away. Tokens can be had
// of it all the time.
type faultyIssuer struct {
	t      *testing.T
	url    string
	issuer *identity.DevIssuer
	// development has it say what it is.
	development bool

	down    atomic.Bool
	refused atomic.Int64 // questions that were not answered because it was down
	asked   atomic.Int64 // questions for its keys
	hanging atomic.Int64 // questions that wait for hold to end

	mutex sync.Mutex
	hold  chan struct{} // nil unless it hangs
}

func newFaultyIssuer(t *testing.T) *faultyIssuer {
	t.Helper()
	i := &faultyIssuer{t: t}
	server := httptest.NewUnstartedServer(i) // whole before it serves, as in newIssuer
	i.url = "http://" + server.Listener.Addr().String()
	var err error
	i.issuer, err = identity.NewDevIssuer(t.TempDir(), i.url)
	require.NoError(t, err)
	server.Start()
	t.Cleanup(func() { i.hang(false); server.Close() })
	return i
}

func (i *faultyIssuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/token" {
		if r.URL.Path == "/jwks" {
			i.asked.Add(1)
		}
		i.mutex.Lock()
		hold := i.hold
		i.mutex.Unlock()
		if hold != nil {
			i.hanging.Add(1)
			select {
			case <-hold:
			case <-r.Context().Done():
			}
			i.hanging.Add(-1)
		}
		if i.down.Load() {
			i.refused.Add(1)
			panic(http.ErrAbortHandler)
		}
	}
	if i.development {
		i.issuer.Handler(nil).ServeHTTP(w, r)
		return
	}
	asService(i.issuer).ServeHTTP(w, r)
}

// hang makes it take questions and answer none, or ends that.
func (i *faultyIssuer) hang(on bool) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	if i.hold != nil {
		close(i.hold)
		i.hold = nil
	}
	if on {
		i.hold = make(chan struct{})
	}
}

// token may be called by any goroutine of the test, as me and eventually may.
func (i *faultyIssuer) token() string {
	i.t.Helper()
	token, err := identity.RequestToken(i.t.Context(), i.url, identity.TokenRequest{Sub: "ana", Org: "acme", Roles: []string{"viewer"}})
	assert.NoError(i.t, err)
	return token
}

// start runs a query API that trusts the issuer.
func (i *faultyIssuer) start(settings ...string) *hub {
	i.t.Helper()
	broker, err := local.StartNATS(local.NATSOptions{StoreDir: i.t.TempDir(), ListenAddr: "127.0.0.1:0"})
	require.NoError(i.t, err)
	i.t.Cleanup(broker.Stop)
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(i.t))
	h := newServeHub(i.t, append([]string{
		"DATABASE_URL=" + hubtest.Database(i.t, hubtest.LogAndViews()), "NATS_URL=" + broker.URL(), "IDENTITY_SERVICE_URL=" + i.url,
		"HUB_QUERY_ADDR=" + address, "SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + i.t.TempDir(),
	}, settings...), "query-api")
	h.base = "http://" + address
	h.launch()
	return h
}

// me asks who the caller is, and returns the status and the code of a problem.
func (h *hub) me(token string) (int, string) {
	h.t.Helper()
	response, body, err := h.do(h.t.Context(), http.MethodGet, "/api/v1/me", token, nil, nil)
	if !assert.NoError(h.t, err) {
		return 0, ""
	}
	var answer struct{ Code string }
	assert.NoError(h.t, json.Unmarshal(body, &answer))
	return response.StatusCode, answer.Code
}

// identityHealth is the status of the answer, and what it says of the issuer and the database.
func (h *hub) identityHealth() (status int, identity, database string) {
	h.t.Helper()
	var answer struct {
		Database   string
		Components map[string]struct{ Status string }
	}
	status = h.get("/api/health/", "", nil, &answer)
	return status, answer.Components["identity"].Status, answer.Database
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	for waited := time.After(startTimeout); !is(); {
		select {
		case <-poll.C:
		case <-waited:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// An issuer that is not there when the hub starts, comes, and goes again.
func TestTheIssuerIsDownAtStartAndLater(t *testing.T) {
	t.Parallel()
	i := newFaultyIssuer(t)
	i.down.Store(true)
	h := i.start()
	known := i.token()
	status, code := h.me(known)
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "identity_unavailable", code)
	status, issuer, database := h.identityHealth()
	assert.Equal(t, []any{http.StatusServiceUnavailable, "unhealthy", "connected"}, []any{status, issuer, database})

	i.down.Store(false)
	eventually(t, "tokens are verified", func() bool { status, _ := h.me(known); return status == http.StatusOK })
	eventually(t, "health says so", func() bool {
		status, issuer, _ := h.identityHealth()
		return status == http.StatusOK && issuer == "healthy"
	})

	i.down.Store(true)
	before := i.refused.Load()
	eventually(t, "the hub asks again", func() bool { return i.refused.Load() > before })
	for _, token := range []string{known, i.token()} {
		status, _ := h.me(token)
		assert.Equal(t, http.StatusOK, status, "the keys are known")
	}
	eventually(t, "health says so", func() bool {
		status, issuer, database := h.identityHealth()
		return status == http.StatusOK && issuer == "degraded" && database == "connected"
	})
	require.NoError(t, i.issuer.Rotate())
	rotated := i.token()
	status, code = h.me(rotated)
	assert.Equal(t, http.StatusServiceUnavailable, status, "whose key it is cannot be known")
	assert.Equal(t, "identity_unavailable", code)

	i.down.Store(false)
	eventually(t, "the new key is known", func() bool { status, _ := h.me(rotated); return status == http.StatusOK })
}

// Whoever names the development issuer by mistake lets nobody in by its tokens, and is told
// why; a development machine says that it is one.
func TestTheDevelopmentIssuerIsTrustedByDevelopmentMachinesAlone(t *testing.T) {
	t.Parallel()
	i := newFaultyIssuer(t)
	i.development = true
	h := i.start()
	status, code := h.me(i.token())
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, "identity_unavailable", code)
	var health struct {
		Components map[string]struct{ Status, Detail string }
	}
	assert.Equal(t, http.StatusServiceUnavailable, h.get("/api/health/", "", nil, &health))
	assert.Equal(t, "unhealthy", health.Components["identity"].Status)
	assert.Contains(t, health.Components["identity"].Detail, "set DEBUG=true on a development machine")
	assert.Zero(t, i.asked.Load(), "its keys are not even asked for")

	h = i.start("DEBUG=true")
	eventually(t, "its tokens are verified", func() bool { status, _ := h.me(i.token()); return status == http.StatusOK })
}

// While the issuer takes questions and answers none, tokens of known keys are verified,
// and health tells of the issuer, not of the databases.
func TestTheIssuerHangs(t *testing.T) {
	t.Parallel()
	i := newFaultyIssuer(t)
	h := i.start()
	known := i.token()
	eventually(t, "tokens are verified", func() bool { status, _ := h.me(known); return status == http.StatusOK })
	i.hang(true)
	// Whoever waited for the answer would be answered only when the hub has given up.
	eventually(t, "a request is answered while a question is", func() bool {
		asking := i.hanging.Load() > 0
		for _, token := range []string{known, i.token()} {
			status, _ := h.me(token)
			require.Equal(t, http.StatusOK, status)
		}
		return asking && i.hanging.Load() > 0
	})
	eventually(t, "health says so", func() bool {
		status, issuer, database := h.identityHealth()
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, "connected", database)
		return issuer == "degraded"
	})
	i.hang(false)
	eventually(t, "health says so", func() bool { _, issuer, _ := h.identityHealth(); return issuer == "healthy" })
}

// While the issuer rotates its keys no good token is refused; those of a key that it has
// withdrawn are, soon after.
func TestKeysAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	i := newFaultyIssuer(t)
	h := i.start()
	first := i.token()
	eventually(t, "tokens are verified", func() bool { status, _ := h.me(first); return status == http.StatusOK })

	const callers = 4
	var answered [callers]atomic.Int64
	stop := make(chan struct{})
	var group sync.WaitGroup
	for caller := range callers {
		group.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if status, code := h.me(i.token()); status != http.StatusOK {
					t.Errorf("a good token is answered %d %s", status, code)
				}
				answered[caller].Add(1)
			}
		})
	}
	for range 4 {
		require.NoError(t, i.issuer.Rotate())
		var before [callers]int64
		for caller := range callers {
			before[caller] = answered[caller].Load()
		}
		// Each has had a token of the new key: the one of before may go.
		eventually(t, "everybody has a new token", func() bool {
			for caller := range callers {
				if answered[caller].Load() < before[caller]+3 {
					return false
				}
			}
			return true
		})
	}
	close(stop)
	group.Wait()
	eventually(t, "tokens of a withdrawn key are refused", func() bool {
		status, code := h.me(first)
		return status == http.StatusUnauthorized && code == "invalid_token"
	})
}

// However many tokens name keys that nobody has, the issuer is asked now and then, and
// those who have good ones notice nothing.
func TestAFloodOfTokensOfUnknownKeys(t *testing.T) {
	t.Parallel()
	i := newFaultyIssuer(t)
	h := i.start()
	known := i.token()
	eventually(t, "tokens are verified", func() bool { status, _ := h.me(known); return status == http.StatusOK })
	began, before := time.Now(), i.asked.Load()
	part := strings.Split(known, ".")
	const flooders, each = 8, 100
	var flood, callers sync.WaitGroup
	for flooder := range flooders {
		flood.Go(func() {
			for n := range each {
				header := fmt.Sprintf(`{"alg":"EdDSA","kid":"%d-%d"}`, flooder, n)
				forged := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + part[1] + "." + part[2]
				if status, code := h.me(forged); status != http.StatusUnauthorized || code != "invalid_token" {
					t.Errorf("a forged token is answered %d %s", status, code)
				}
			}
		})
	}
	over := make(chan struct{})
	for range 2 {
		callers.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				if status, code := h.me(i.token()); status != http.StatusOK {
					t.Errorf("a good token is answered %d %s", status, code)
				}
			}
		})
	}
	flood.Wait()
	close(over)
	callers.Wait()
	// Five at once and one in ten seconds; and by the clock one in fifteen.
	most := 5 + int64(time.Since(began)/(10*time.Second)) + 1 + int64(time.Since(began)/(15*time.Second)) + 1
	assert.LessOrEqual(t, i.asked.Load()-before, most, "%d forged tokens", flooders*each)
	assert.Greater(t, i.asked.Load(), before, "the flood was none")
}
