package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	neturl "net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
)

// securedPostgres is a server that speaks TLS only, to clients with a certificate of the
// authority; it returns the address of a new database without the client's part.
func securedPostgres(t *testing.T, a *hubtest.Authority) string {
	t.Helper()
	options := local.PostgresOptions{DataDir: filepath.Join(hubtest.TempDir(t), "postgres")}
	first, err := local.StartPostgres(t.Context(), options)
	require.NoError(t, err)
	conn, err := pgx.Connect(t.Context(), first.URL("postgres"))
	require.NoError(t, err)
	var user string
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT current_user").Scan(&user))
	_, err = conn.Exec(t.Context(), "CREATE DATABASE hub")
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	require.NoError(t, first.Stop(t.Context()))

	// PostgreSQL takes a key only of its own user, and closed to others.
	info, err := os.Stat(filepath.Join(options.DataDir, "data"))
	require.NoError(t, err)
	owner := info.Sys().(*syscall.Stat_t)
	require.NoError(t, os.Chmod(a.Path("postgres.key"), 0o600))
	require.NoError(t, os.Chown(a.Path("postgres.key"), int(owner.Uid), int(owner.Gid)))
	rules := a.Path("pg_hba.conf")
	require.NoError(t, os.WriteFile(rules, []byte("local all all trust\nhostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n"), 0o600))
	require.NoError(t, os.Chown(rules, int(owner.Uid), int(owner.Gid)))
	port := hubtest.FreePort(t)
	options.Settings = map[string]string{
		"listen_addresses": "127.0.0.1", "port": fmt.Sprint(port), "hba_file": rules, "ssl": "on",
		"ssl_cert_file": a.Path("postgres.crt"), "ssl_key_file": a.Path("postgres.key"), "ssl_ca_file": a.Path("ca.crt"),
	}
	second, err := local.StartPostgres(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, second.Stop(context.WithoutCancel(t.Context()))) })
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/hub", user, port)
}

func securedNATS(t *testing.T, a *hubtest.Authority) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		TLS: true, TLSVerify: true, TLSTimeout: 30, TLSConfig: a.Server("nats"),
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(startTimeout))
	return s.ClientURL()
}

func securedIssuer(t *testing.T, a *hubtest.Authority) string {
	t.Helper()
	s := httptest.NewUnstartedServer(nil) // whole before it serves, as in newIssuer
	url := "https://" + s.Listener.Addr().String()
	issuer, err := identity.NewDevIssuer(t.TempDir(), url)
	require.NoError(t, err)
	s.Config.Handler = asService(issuer)
	s.TLS = a.Server("issuer")
	s.TLS.ClientAuth = tls.NoClientCert
	s.StartTLS()
	t.Cleanup(s.Close)
	return url
}

// Every side speaks TLS, and verifies: PostgreSQL and NATS ask for our certificate, the
// issuer and the query API are verified, and callers get HTTPS.
func TestEverySideSpeaksTLS(t *testing.T) {
	t.Parallel()
	a := hubtest.NewAuthority(t)
	for _, name := range []string{"postgres", "nats", "issuer", "http", "client"} {
		a.Issue(name, time.Now().Add(time.Hour))
	}
	database := securedPostgres(t, a)
	ours := neturl.Values{"sslmode": {"verify-full"}, "sslrootcert": {a.Path("ca.crt")}, "sslcert": {a.Path("client.crt")}, "sslkey": {a.Path("client.key")}}
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	issuer, broker := securedIssuer(t, a), securedNATS(t, a)
	shared := []string{
		"DATABASE_URL=" + database + "?" + ours.Encode(), "NATS_URL=" + broker,
		"NATS_TLS_CA_FILE=" + a.Path("ca.crt"), "NATS_TLS_CERT_FILE=" + a.Path("client.crt"), "NATS_TLS_KEY_FILE=" + a.Path("client.key"),
		"REDIS_URL=rediss://" + hubtest.SecuredRedis(t, a) + "/0",
		"REDIS_TLS_CA_FILE=" + a.Path("ca.crt"), "REDIS_TLS_CERT_FILE=" + a.Path("client.crt"), "REDIS_TLS_KEY_FILE=" + a.Path("client.key"),
		"IDENTITY_SERVICE_URL=" + issuer, "QUERY_API_URL=https://" + query, "HUB_QUERY_ADDR=" + query,
		"HUB_TLS_CERT_FILE=" + a.Path("http.crt"), "HUB_TLS_KEY_FILE=" + a.Path("http.key"),
		"SSL_CERT_FILE=" + a.Path("ca.crt"), // of whom the issuer and the query API have theirs
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}
	front := newServeHub(t, shared, "command-api", "relay", "projector")
	front.base = strings.Replace(front.base, "http://", "https://", 1)
	front.client = &http.Client{Transport: &http.Transport{TLSClientConfig: a.Client("")}}
	front.command("migrate", "up")
	newServeHub(t, shared, "query-api").launch()
	front.start()
	assert.Zero(t, front.healthcheck())

	front.eventually("all of them are in use", func() bool {
		components := front.health()["components"].(map[string]any)
		for _, name := range []string{"database", "nats", "redis", "identity"} {
			if components[name].(map[string]any)["status"] != "healthy" {
				return false
			}
		}
		return true
	})

	token := front.tokenFrom(issuer)
	front.defineType(token, "thing")
	created, _ := front.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	require.Equal(t, http.StatusOK, front.get("/api/v1/entities/"+created.ID, token, after(created.Position), nil), "through the front door")

	plain := &hub{t: t, base: strings.Replace(front.base, "https://", "http://", 1)}
	assert.Equal(t, http.StatusBadRequest, plain.get("/api/health/", "", nil, nil), "there is no plain HTTP")
	_, err := http.Get(front.base + "/livez")
	require.ErrorContains(t, err, "certificate", "who does not know the authority does not trust it")

	// Whom we do not know, or who does not know us, is not talked to.
	stranger := hubtest.NewAuthority(t)
	stranger.Issue("client", time.Now().Add(time.Hour))
	for what, parameters := range map[string]neturl.Values{
		"a server of another authority": {"sslmode": {"verify-full"}, "sslrootcert": {stranger.Path("ca.crt")}, "sslcert": ours["sslcert"], "sslkey": ours["sslkey"]},
		"no certificate of ours":        {"sslmode": {"verify-full"}, "sslrootcert": ours["sslrootcert"]},
		"one of another authority":      {"sslmode": {"require"}, "sslcert": {stranger.Path("client.crt")}, "sslkey": {stranger.Path("client.key")}},
		"no TLS":                        {"sslmode": {"disable"}},
	} {
		_, err := pgx.Connect(t.Context(), database+"?"+parameters.Encode())
		assert.Error(t, err, what)
	}
	natsAsks(t, broker, a, stranger)

	// The issuer and the query API are not those that this one trusts.
	lost := newServeHub(t, append(shared, "SSL_CERT_FILE="+stranger.Path("ca.crt")), "command-api")
	lost.base, lost.client = strings.Replace(lost.base, "http://", "https://", 1), front.client
	lost.launch()
	status, code := lost.me(token)
	assert.Equal(t, []any{http.StatusServiceUnavailable, "identity_unavailable"}, []any{status, code})
	response, body, err := lost.do(t.Context(), http.MethodGet, "/api/v1/entities", token, nil, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
	assert.Contains(t, string(body), `"code":"query_api_unavailable"`)
}

// natsAsks connects as the environment says, and must not be able to but in one way.
func natsAsks(t *testing.T, broker string, ours, stranger *hubtest.Authority) {
	t.Helper()
	ca := func(a *hubtest.Authority) string { return "NATS_TLS_CA_FILE=" + a.Path("ca.crt") }
	cert := func(a *hubtest.Authority) []string {
		return []string{"NATS_TLS_CERT_FILE=" + a.Path("client.crt"), "NATS_TLS_KEY_FILE=" + a.Path("client.key")}
	}
	for what, test := range map[string]struct {
		env     []string
		because string
	}{
		"it knows us, and we know it":   {append(cert(ours), ca(ours)), ""},
		"another authority":             {append(cert(ours), ca(stranger)), "signed by unknown authority"},
		"the authorities of the system": {nil, "failed to verify certificate"},
		"no certificate of ours":        {[]string{ca(ours)}, "tls"}, // NATS may close before it says why
		"one of another authority":      {append(cert(stranger), ca(ours)), "tls"},
	} {
		cfg, err := config.Load(config.Tool(), test.env)
		require.NoError(t, err)
		secured, err := cfg.NATSTLS()
		require.NoError(t, err)
		conn, err := nats.Connect(broker, nats.Secure(secured), nats.Timeout(startTimeout))
		if test.because == "" {
			require.NoError(t, err, what)
			conn.Close()
			continue
		}
		assert.ErrorContains(t, err, test.because, what)
	}
}

func (h *hub) tokenFrom(issuer string) string {
	h.t.Helper()
	response, err := h.client.Post(issuer+"/token", "application/json", strings.NewReader(`{"sub":"ana","org_id":"acme","roles":["admin"]}`))
	require.NoError(h.t, err)
	defer response.Body.Close()
	var answer identity.TokenResponse
	require.NoError(h.t, json.NewDecoder(response.Body).Decode(&answer))
	return answer.AccessToken
}

func TestCertificatesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	a := hubtest.NewAuthority(t)
	a.Issue("http", time.Now().Add(time.Hour))
	a.Issue("other", time.Now().Add(time.Hour))
	a.Issue("old", time.Now().Add(-time.Hour))
	for said, env := range map[string][]string{
		"HUB_TLS_KEY is not the key of HUB_TLS_CERT":              {"HUB_TLS_CERT_FILE=" + a.Path("http.crt"), "HUB_TLS_KEY_FILE=" + a.Path("other.key")},
		"HUB_TLS_CERT and HUB_TLS_KEY belong together":            {"HUB_TLS_CERT_FILE=" + a.Path("http.crt")},
		"HUB_TLS_CERT has expired":                                {"HUB_TLS_CERT_FILE=" + a.Path("old.crt"), "HUB_TLS_KEY_FILE=" + a.Path("old.key")},
		"HUB_TLS_CERT is not PEM of a certificate":                {"HUB_TLS_CERT=" + a.Path("http.crt"), "HUB_TLS_KEY_FILE=" + a.Path("http.key")},
		"NATS_TLS_CERT and NATS_TLS_KEY belong together":          {"NATS_TLS_KEY_FILE=" + a.Path("http.key")},
		"NATS_TLS_CA_FILE cannot be read":                         {"NATS_TLS_CA_FILE=" + a.Path("nowhere")},
		"REDIS_TLS_CERT and REDIS_TLS_KEY belong together":        {"REDIS_URL=rediss://127.0.0.1:1", "REDIS_TLS_KEY_FILE=" + a.Path("http.key")},
		"REDIS_TLS_KEY is not the key of REDIS_TLS_CERT":          {"REDIS_URL=rediss://127.0.0.1:1", "REDIS_TLS_CERT_FILE=" + a.Path("http.crt"), "REDIS_TLS_KEY_FILE=" + a.Path("other.key")},
		"REDIS_TLS_CERT has expired":                              {"REDIS_URL=rediss://127.0.0.1:1", "REDIS_TLS_CERT_FILE=" + a.Path("old.crt"), "REDIS_TLS_KEY_FILE=" + a.Path("old.key")},
		"REDIS_TLS_CA has no effect: begin REDIS_URL with rediss": {"REDIS_URL=redis://127.0.0.1:1", "REDIS_TLS_CA_FILE=" + a.Path("ca.crt")},
		"REDIS_TLS_CERT has no effect":                            {"REDIS_TLS_CERT_FILE=" + a.Path("http.crt"), "REDIS_TLS_KEY_FILE=" + a.Path("http.key")},
		"REDIS_URL asks to trust whoever answers":                 {"REDIS_URL=rediss://127.0.0.1:1?skip_verify=true"},
		"NATS_TLS_CERT and NATS_TLS_CERT_FILE are both set: keep": {"NATS_TLS_CERT=x", "NATS_TLS_CERT_FILE=" + a.Path("http.crt")},
	} {
		assert.Contains(t, refused(t, append(env, "DATABASE_URL=postgres://127.0.0.1:1/hub"), "all"), said)
	}
}
