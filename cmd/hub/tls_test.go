package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
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
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/reactdjango-hub/backend/internal/hubtest"
	"github.com/reactdjango-hub/backend/internal/identity"
	"github.com/reactdjango-hub/backend/internal/local"
)

// authority is a certificate authority for a test, whose files any user can read.
type authority struct {
	t           *testing.T
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, folder: hubtest.TempDir(t)}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, &a.key.PublicKey, a.key)
	require.NoError(t, err)
	a.certificate, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	require.NoError(a.t, os.WriteFile(a.path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	require.NoError(a.t, os.Chmod(a.path(name), 0o644))
}

func (a *authority) path(name string) string { return filepath.Join(a.folder, name) }

// issue writes NAME.crt and NAME.key, for this machine and as a client of that name.
func (a *authority) issue(name string, until time.Time) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}, a.certificate, &key.PublicKey, a.key)
	require.NoError(a.t, err)
	a.write(name+".crt", "CERTIFICATE", der)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(a.t, err)
	a.write(name+".key", "PRIVATE KEY", encoded)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// server is the settings of a server that asks clients for a certificate, too.
func (a *authority) server(name string) *tls.Config {
	a.t.Helper()
	pair, err := tls.LoadX509KeyPair(a.path(name+".crt"), a.path(name+".key"))
	require.NoError(a.t, err)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: a.pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
}

// securedPostgres is a server that speaks TLS only, to clients with a certificate of the
// authority; it returns the address of a new database without the client's part.
func securedPostgres(t *testing.T, a *authority) string {
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
	require.NoError(t, os.Chmod(a.path("postgres.key"), 0o600))
	require.NoError(t, os.Chown(a.path("postgres.key"), int(owner.Uid), int(owner.Gid)))
	rules := filepath.Join(a.folder, "pg_hba.conf")
	require.NoError(t, os.WriteFile(rules, []byte("local all all trust\nhostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n"), 0o600))
	require.NoError(t, os.Chown(rules, int(owner.Uid), int(owner.Gid)))
	port := hubtest.FreePort(t)
	options.Settings = map[string]string{
		"listen_addresses": "127.0.0.1", "port": fmt.Sprint(port), "hba_file": rules, "ssl": "on",
		"ssl_cert_file": a.path("postgres.crt"), "ssl_key_file": a.path("postgres.key"), "ssl_ca_file": a.path("ca.crt"),
	}
	second, err := local.StartPostgres(t.Context(), options)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, second.Stop(context.WithoutCancel(t.Context()))) })
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/hub", user, port)
}

func securedNATS(t *testing.T, a *authority) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		TLS: true, TLSVerify: true, TLSTimeout: 30, TLSConfig: a.server("nats"),
	})
	require.NoError(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(startTimeout))
	return s.ClientURL()
}

func securedIssuer(t *testing.T, a *authority) string {
	t.Helper()
	var handler http.Handler
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	s.TLS = a.server("issuer")
	s.TLS.ClientAuth = tls.NoClientCert
	s.StartTLS()
	t.Cleanup(s.Close)
	issuer, err := identity.NewDevIssuer(t.TempDir(), s.URL)
	require.NoError(t, err)
	handler = asService(issuer)
	return s.URL
}

// Every side speaks TLS, and verifies: PostgreSQL and NATS ask for our certificate, the
// issuer and the query API are verified, and callers get HTTPS.
func TestEverySideSpeaksTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	for _, name := range []string{"postgres", "nats", "issuer", "http", "client"} {
		a.issue(name, time.Now().Add(time.Hour))
	}
	database := securedPostgres(t, a)
	ours := neturl.Values{"sslmode": {"verify-full"}, "sslrootcert": {a.path("ca.crt")}, "sslcert": {a.path("client.crt")}, "sslkey": {a.path("client.key")}}
	query := fmt.Sprintf("127.0.0.1:%d", hubtest.FreePort(t))
	shared := []string{
		"DATABASE_URL=" + database + "?" + ours.Encode(), "NATS_URL=" + securedNATS(t, a),
		"NATS_TLS_CA_FILE=" + a.path("ca.crt"), "NATS_TLS_CERT_FILE=" + a.path("client.crt"), "NATS_TLS_KEY_FILE=" + a.path("client.key"),
		"IDENTITY_SERVICE_URL=" + securedIssuer(t, a), "QUERY_API_URL=https://" + query, "HUB_QUERY_ADDR=" + query,
		"HUB_TLS_CERT_FILE=" + a.path("http.crt"), "HUB_TLS_KEY_FILE=" + a.path("http.key"),
		"SSL_CERT_FILE=" + a.path("ca.crt"), // of whom the issuer and the query API have theirs
		"SECRET_KEY=of-a-test-and-long-enough-for-anyone", "HUB_DATA_DIR=" + t.TempDir(),
	}
	front := newServeHub(t, shared, "command-api", "relay", "projector")
	front.base = strings.Replace(front.base, "http://", "https://", 1)
	front.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.pool(), MinVersion: tls.VersionTLS12}}}
	front.command("migrate", "up")
	newServeHub(t, shared, "query-api").launch()
	front.start()
	assert.Zero(t, front.healthcheck())

	token := front.tokenFrom(strings.TrimPrefix(shared[5], "IDENTITY_SERVICE_URL="))
	front.defineType(token, "thing")
	created, _ := front.send(http.MethodPost, "/api/v1/entities", token, nil, map[string]any{"type": "thing", "attributes": map[string]any{}})
	require.Equal(t, http.StatusOK, front.get("/api/v1/entities/"+created.ID, token, after(created.Position), nil), "through the front door")

	plain := &hub{t: t, base: strings.Replace(front.base, "https://", "http://", 1)}
	assert.Equal(t, http.StatusBadRequest, plain.get("/api/health/", "", nil, nil), "there is no plain HTTP")
	_, err := http.Get(front.base + "/livez")
	require.ErrorContains(t, err, "certificate", "who does not know the authority does not trust it")

	// Whom we do not know, or who does not know us, is not talked to.
	stranger := newAuthority(t)
	stranger.issue("client", time.Now().Add(time.Hour))
	for what, parameters := range map[string]neturl.Values{
		"a server of another authority": {"sslmode": {"verify-full"}, "sslrootcert": {stranger.path("ca.crt")}, "sslcert": ours["sslcert"], "sslkey": ours["sslkey"]},
		"no certificate of ours":        {"sslmode": {"verify-full"}, "sslrootcert": ours["sslrootcert"]},
		"one of another authority":      {"sslmode": {"require"}, "sslcert": {stranger.path("client.crt")}, "sslkey": {stranger.path("client.key")}},
		"no TLS":                        {"sslmode": {"disable"}},
	} {
		_, err := pgx.Connect(t.Context(), database+"?"+parameters.Encode())
		assert.Error(t, err, what)
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
	a := newAuthority(t)
	a.issue("http", time.Now().Add(time.Hour))
	a.issue("other", time.Now().Add(time.Hour))
	a.issue("old", time.Now().Add(-time.Hour))
	for said, env := range map[string][]string{
		"HUB_TLS_KEY is not the key of HUB_TLS_CERT":              {"HUB_TLS_CERT_FILE=" + a.path("http.crt"), "HUB_TLS_KEY_FILE=" + a.path("other.key")},
		"HUB_TLS_CERT and HUB_TLS_KEY belong together":            {"HUB_TLS_CERT_FILE=" + a.path("http.crt")},
		"HUB_TLS_CERT has expired":                                {"HUB_TLS_CERT_FILE=" + a.path("old.crt"), "HUB_TLS_KEY_FILE=" + a.path("old.key")},
		"HUB_TLS_CERT is not PEM of a certificate":                {"HUB_TLS_CERT=" + a.path("http.crt"), "HUB_TLS_KEY_FILE=" + a.path("http.key")},
		"NATS_TLS_CERT and NATS_TLS_KEY belong together":          {"NATS_TLS_KEY_FILE=" + a.path("http.key")},
		"NATS_TLS_CA_FILE cannot be read":                         {"NATS_TLS_CA_FILE=" + a.path("nowhere")},
		"NATS_TLS_CERT and NATS_TLS_CERT_FILE are both set: keep": {"NATS_TLS_CERT=x", "NATS_TLS_CERT_FILE=" + a.path("http.crt")},
	} {
		assert.Contains(t, refused(t, append(env, "DATABASE_URL=postgres://127.0.0.1:1/hub"), "all"), said)
	}
}
