package torture

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// organisations of a run; the second is there so that positions within one differ
// from those of the log.
var organisations = []string{"acme", "bolt"}

// system is a whole deployment: two processes that take commands and answer reads, two
// that copy the log and keep the views, a PostgreSQL with fsync on and a NATS. Each
// process has a proxy of its own in front of PostgreSQL.
type system struct {
	t        *testing.T
	postgres *hubtest.Durable
	nats     *hubtest.BrokerProcess
	issuer   string
	nodes    []*node
	// settings are further variables of the processes that are started from then on.
	settings []string
}

// node is one process of hub, over its restarts.
type node struct {
	system *system
	proxy  *hubtest.Proxy
	roles  []string

	mu      sync.Mutex
	base    string // of its HTTP API; it changes with every start
	process *hubtest.Hub
}

// fronts are the nodes that clients talk to.
func (s *system) fronts() []*node {
	return slices.DeleteFunc(slices.Clone(s.nodes), func(n *node) bool { return !slices.Equal(n.roles, front) })
}

// front takes commands and answers reads, back does what follows from the log.
var (
	front = []string{"command-api", "query-api"}
	back  = []string{"relay", "projector", "reactor"}
)

// newSystem starts a process for each set of roles; without any, two fronts and two backs.
func newSystem(t *testing.T, roles ...[]string) *system {
	t.Helper()
	if len(roles) == 0 {
		roles = [][]string{front, front, back, back}
	}
	s := &system{t: t, postgres: hubtest.DurableServer(t, nil), nats: hubtest.NATSProcess(t), issuer: newIssuer(t)}
	require.NoError(t, hubtest.LogAndViews().Up(t.Context(), s.postgres.URL("postgres")))
	for _, of := range roles {
		s.add(of)
	}
	return s
}

// add starts one more process.
func (s *system) add(roles []string) {
	s.t.Helper()
	n := &node{system: s, proxy: hubtest.PostgresProxy(s.t, s.postgres.URL("postgres")), roles: roles}
	s.nodes = append(s.nodes, n)
	n.start()
}

// newIssuer runs the development issuer in this process, where nothing kills it.
func newIssuer(t *testing.T) string {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	issuer, err := identity.NewDevIssuer(t.TempDir(), server.URL)
	require.NoError(t, err)
	handler = issuer.Handler(nil)
	return server.URL
}

// start runs the node's process and waits until it runs.
func (n *node) start() {
	t := n.system.t
	t.Helper()
	n.proxy.Calm()
	address := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	env := append(n.system.environment(n.proxy.Through(t, n.system.postgres.URL("postgres"))),
		"HUB_HTTP_ADDR="+address, fmt.Sprintf("HUB_QUERY_ADDR=127.0.0.1:%d", hubtest.FreePort(t)))
	process := hubtest.StartHub(t, env, append([]string{"serve"}, n.roles...)...)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.base, n.process = "http://"+address, process
}

func (s *system) environment(database string) []string {
	return append([]string{
		"DATABASE_URL=" + database, "NATS_URL=" + s.nats.URL(),
		"IDENTITY_SERVICE_URL=" + s.issuer, "DEBUG=true", "SECRET_KEY=of-a-test-and-long-enough-for-anyone",
	}, s.settings...)
}

// command starts a command of hub beside the processes; what it returns waits until
// the command has ended, which must be well.
func (s *system) command(arguments ...string) (ended func()) {
	s.t.Helper()
	command := exec.CommandContext(s.t.Context(), hubtest.Binary(s.t), arguments...)
	command.Env = hubtest.HubEnvironment(s.environment(s.postgres.URL("postgres")))
	output := new(bytes.Buffer)
	command.Stdout, command.Stderr = output, output
	require.NoError(s.t, command.Start())
	return func() {
		s.t.Helper()
		require.NoError(s.t, command.Wait(), "hub %v: %s", arguments, output)
	}
}

func (n *node) address() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.base
}

// alive fails the test if the process has ended though nobody killed it.
func (n *node) alive() {
	n.system.t.Helper()
	hubtest.Silent(n.system.t, fmt.Sprintf("hub serve %v ended by itself", n.roles), n.process.Done())
}

func (s *system) token(org string) string {
	s.t.Helper()
	token, err := identity.RequestToken(s.t.Context(), s.issuer, identity.TokenRequest{
		Sub: "ana", Org: org, Roles: []string{"admin"}, TTLSeconds: 12 * 3600,
	})
	require.NoError(s.t, err)
	return token
}
