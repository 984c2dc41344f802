package identity_test

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/identity"
)

// startDevIssuer runs the development issuer as `hub dev` does.
func startDevIssuer(t testing.TB, keyDir string) (*identity.DevIssuer, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	d, err := identity.NewDevIssuer(keyDir, url+"/")
	must(t, err)
	server.Config.Handler = d.Handler(nil)
	server.Start()
	t.Cleanup(server.Close)
	return d, url
}

func devVerifier(url string, now func() time.Time) *identity.Verifier {
	return identity.NewVerifier(identity.Options{URL: url, Audience: "hub-backend", Now: now, Development: true})
}

func TestDevIssuerTokensAreVerified(t *testing.T) {
	t.Parallel()
	_, url := startDevIssuer(t, t.TempDir())
	v := devVerifier(url, nil)
	before := time.Now().Truncate(time.Second)
	token, err := identity.RequestToken(t.Context(), url+"/", identity.TokenRequest{
		Sub: "ana", Org: "acme", Roles: []string{"admin"}, Groups: []string{"sales"}, Person: "p-7",
		Name: "Ana", Email: "ana@acme.example", MFA: true, TTLSeconds: 600,
	})
	must(t, err)
	got := accept(t, v, token)
	if got.Expires.Before(before.Add(10*time.Minute)) || got.Expires.After(time.Now().Add(10*time.Minute)) {
		t.Errorf("expires %v", got.Expires)
	}
	if got.Issued.Before(before) || got.Issued.After(time.Now()) {
		t.Errorf("issued %v", got.Issued)
	}
	if !got.LoggedIn.Equal(got.Issued) {
		t.Errorf("logged in %v", got.LoggedIn)
	}
	got.Issued, got.LoggedIn, got.Expires = time.Time{}, time.Time{}, time.Time{}
	if want := (identity.Caller{
		Org: "acme", Sub: "ana", Person: "p-7", Name: "Ana", Email: "ana@acme.example",
		Roles: []string{"admin"}, Groups: []string{"sales"}, MFA: true,
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	token, err = identity.RequestToken(t.Context(), url, identity.TokenRequest{Sub: "bob", Org: "acme"})
	must(t, err)
	if got = accept(t, v, token); got.MFA || got.Person != "bob" || len(got.Roles) != 0 || got.Expires.Before(before.Add(time.Hour)) {
		t.Errorf("with defaults: %+v", got)
	}
	// The issuer signs for any organisation; refusing reserved ones is the service's part.
	token, err = identity.RequestToken(t.Context(), url, identity.TokenRequest{Sub: "bob", Org: "_hub"})
	must(t, err)
	refuseToken(t, v, token)
}

func TestDevIssuerKeepsItsKey(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "keys")
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	start := func() *identity.DevIssuer {
		d, err := identity.NewDevIssuer(folder, url)
		must(t, err)
		return d
	}
	server.Config.Handler = start().Handler(nil)
	server.Start()
	t.Cleanup(server.Close)
	token, err := identity.RequestToken(t.Context(), url, identity.TokenRequest{Sub: "ana", Org: "acme"})
	must(t, err)

	restarted := httptest.NewServer(start().Handler(nil))
	t.Cleanup(restarted.Close)
	v := identity.NewVerifier(identity.Options{URL: url, Audience: "hub-backend", Development: true})
	accept(t, v, token)

	path := filepath.Join(folder, "development_issuer.jwks")
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for _, damaged := range []string{"", "{}", `{"keys":[]}`, `{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}`, "secret"} {
		must(t, os.WriteFile(path, []byte(damaged), 0o600))
		if _, err := identity.NewDevIssuer(folder, url); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("with a damaged key file %q: %v", damaged, err)
		}
	}
}

func TestDevIssuerRotates(t *testing.T) {
	t.Parallel()
	folder, c := t.TempDir(), &clock{now: time.Now()}
	d, url := startDevIssuer(t, folder)
	v := devVerifier(url, c.Now)
	request := func() string {
		token, err := identity.RequestToken(t.Context(), url, identity.TokenRequest{Sub: "ana", Org: "acme", TTLSeconds: 86400})
		must(t, err)
		return token
	}
	first := request()
	accept(t, v, first)

	must(t, d.Rotate())
	second := request()
	accept(t, v, second)
	accept(t, v, first)

	must(t, d.Rotate())
	c.advance(15 * time.Second)
	must(t, v.Probe(t.Context()))
	refuseToken(t, v, first)
	accept(t, v, second)

	// What was rotated is still so after a restart.
	_, err := identity.NewDevIssuer(folder, url)
	must(t, err)
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDevIssuerPublishesNoSecrets(t *testing.T) {
	t.Parallel()
	d, url := startDevIssuer(t, t.TempDir())
	must(t, d.Rotate())
	var set struct{ Keys []map[string]any }
	must(t, json.Unmarshal([]byte(get(t, url+"/jwks")), &set))
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys", len(set.Keys))
	}
	for _, key := range set.Keys {
		for name, want := range map[string]any{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "d": nil} {
			if key[name] != want {
				t.Errorf("%s is %v", name, key[name])
			}
		}
	}
	var discovery map[string]any
	must(t, json.Unmarshal([]byte(get(t, url+"/.well-known/openid-configuration")), &discovery))
	if discovery["issuer"] != url || discovery["jwks_uri"] != url+"/jwks" || discovery["token_endpoint"] != url+"/token" {
		t.Errorf("discovery: %v", discovery)
	}
}

func get(t testing.TB, address string) string {
	t.Helper()
	response, err := http.Get(address)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return string(body)
}

func TestDevIssuerRefusesBadInput(t *testing.T) {
	t.Parallel()
	_, url := startDevIssuer(t, t.TempDir())
	good := `{"sub":"ana","org_id":"acme"}`
	for _, test := range []struct {
		method, path, media, body string
		status                    int
		code, location            string
	}{
		{"POST", "/token", "application/json", ``, 400, "invalid_json", ""},
		{"POST", "/token", "application/json", `{`, 400, "invalid_json", ""},
		{"POST", "/token", "application/json", good + "x", 400, "invalid_json", ""},
		{"POST", "/token", "application/json", `{"sub":"ana","sub":"eve","org_id":"acme"}`, 400, "duplicate_name", "body.sub"},
		{"POST", "/token", "application/json", "{\"sub\":\"\xff\",\"org_id\":\"acme\"}", 400, "invalid_utf8", ""},
		{"POST", "/token", "application/json", strings.Repeat("[", 11_000), 400, "too_deep", ""},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","role":"admin"}`, 422, "unknown_field", "body.role"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","Sub":"eve"}`, 422, "unknown_field", "body.Sub"},
		{"POST", "/token", "application/json", `[]`, 422, "wrong_type", "body"},
		{"POST", "/token", "application/json", `{"sub":7,"org_id":"acme"}`, 422, "wrong_type", "body.sub"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","roles":"admin"}`, 422, "wrong_type", "body.roles"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","mfa":"yes"}`, 422, "wrong_type", "body.mfa"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","ttl_seconds":1.5}`, 422, "wrong_type", "body.ttl_seconds"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","ttl_seconds":0}`, 422, "invalid", "body.ttl_seconds"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","ttl_seconds":86401}`, 422, "invalid", "body.ttl_seconds"},
		{"POST", "/token", "application/json", `{"org_id":"acme"}`, 422, "invalid", "body.sub"},
		{"POST", "/token", "application/json", `{"sub":"a\u0000","org_id":"acme"}`, 400, "nul_byte", "body.sub"},
		{"POST", "/token", "application/json", `{"sub":"a\nb","org_id":"acme"}`, 422, "invalid", "body.sub"},
		{"POST", "/token", "application/json", `{"sub":"ana"}`, 422, "invalid", "body.org_id"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"a b"}`, 422, "invalid", "body.org_id"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","roles":[""]}`, 422, "invalid", "body.roles"},
		{"POST", "/token", "application/json", `{"sub":"ana","org_id":"acme","name":"` + strings.Repeat("x", 2000) + `"}`, 422, "invalid", "body.name"},
		{"POST", "/token", "application/json", `{"sub":"` + strings.Repeat("x", 17_000) + `"}`, 413, "too_large", ""},
		{"POST", "/token", "application/x-www-form-urlencoded", good, 415, "unsupported_media_type", ""},
		{"POST", "/token", "", good, 415, "unsupported_media_type", ""},
		{"GET", "/token", "", "", 405, "method_not_allowed", ""},
		{"POST", "/jwks", "", "", 405, "method_not_allowed", ""},
		{"DELETE", "/.well-known/openid-configuration", "", "", 405, "method_not_allowed", ""},
		{"GET", "/", "", "", 404, "not_found", ""},
		{"POST", "/authorize", "", "", 404, "not_found", ""},
	} {
		request, err := http.NewRequestWithContext(t.Context(), test.method, url+test.path, strings.NewReader(test.body))
		must(t, err)
		if test.media != "" {
			request.Header.Set("Content-Type", test.media)
		}
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		var got struct {
			Status       int
			Code, Detail string
			Errors       []struct {
				Location string `json:"location"`
			} `json:"errors"`
		}
		err = json.NewDecoder(response.Body).Decode(&got)
		response.Body.Close()
		name := fmt.Sprintf("%s %s %.60s", test.method, test.path, test.body)
		if err != nil || response.StatusCode != test.status || got.Status != test.status || got.Code != test.code || got.Detail == "" ||
			response.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %+v %v", name, response.StatusCode, got, err)
		}
		if test.location != "" && (len(got.Errors) != 1 || got.Errors[0].Location != test.location) {
			t.Errorf("%s: faults %+v", name, got.Errors)
		}
		if test.status == 405 && response.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
	}
}

func TestRequestTokenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	_, url := startDevIssuer(t, t.TempDir())
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	for name, test := range map[string]struct {
		url     string
		request identity.TokenRequest
		want    string
	}{
		"refused":       {url, identity.TokenRequest{Sub: "ana"}, "org_id must be"},
		"nobody there":  {closed.URL, identity.TokenRequest{}, "no development issuer answers"},
		"somebody else": {other.URL, identity.TokenRequest{}, "is it the development issuer?"},
		"no URL":        {"://", identity.TokenRequest{}, "missing protocol scheme"},
	} {
		token, err := identity.RequestToken(t.Context(), test.url, test.request)
		if token != "" || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
}

func TestDevIssuerNeedsItsFolder(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, fs.FileMode(0o600)))
	if _, err := identity.NewDevIssuer(path, "http://x"); err == nil {
		t.Error("a file was taken for a folder")
	}
}
