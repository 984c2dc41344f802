package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/reactdjango-hub/backend/internal/config"
)

const goodKey = "fJ0rrM2y6Tq8V1wq5mG3h9xkQbZ7nYs4"

// production is the least that `hub serve all` starts with.
func production(more ...string) []string {
	return append([]string{
		"DATABASE_URL=postgres://hub:hunter2@db:5432/hub",
		"NATS_URL=nats://nats:4222",
		"IDENTITY_SERVICE_URL=https://identity.example/",
		"SECRET_KEY=" + goodKey,
	}, more...)
}

func load(t *testing.T, mode config.Mode, environ ...string) config.Config {
	t.Helper()
	c, err := config.Load(mode, environ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faults are the names and messages of what Load refuses.
func faults(t *testing.T, mode config.Mode, environ ...string) map[string]string {
	t.Helper()
	_, err := config.Load(mode, environ)
	var all *config.Error
	if !errors.As(err, &all) {
		t.Fatalf("no fault was found: %v", err)
	}
	found := map[string]string{}
	for _, f := range all.Faults {
		if found[f.Name] != "" {
			t.Errorf("%s is reported twice: %q and %q", f.Name, found[f.Name], f.Message)
		}
		found[f.Name] = f.Message
		if !strings.Contains(err.Error(), f.Name+" "+f.Message) {
			t.Errorf("the error's text lacks %s", f.Name)
		}
	}
	return found
}

func TestDevDefaultsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	c := load(t, config.Dev(), "PATH=/bin", "HOME=/root", "REDIS_URL=", "HUB_OPS_ADDR=")
	for _, check := range []struct{ name, got, want any }{
		{"HTTPAddr", c.HTTPAddr, "127.0.0.1:8000"},
		{"QueryAddr", c.QueryAddr, "127.0.0.1:8010"},
		{"QueryAPIURL", c.QueryAPIURL, ""},
		{"OpsAddr", c.OpsAddr, ""},
		{"DevNATSAddr", c.DevNATSAddr, ""},
		{"DevIdentityAddr", c.DevIdentityAddr, "127.0.0.1:8001"},
		{"DataDir", c.DataDir, ".hub"},
		{"DatabaseURL", c.DatabaseURL.Reveal(), ""},
		{"NATSURL", c.NATSURL.Reveal(), ""},
		{"NATSReplicas", c.NATSReplicas, 1},
		{"RateLimit", c.RateLimit, 600_000},
		{"RedisURL", c.RedisURL.Reveal(), ""},
		{"StreamMaxAge", c.StreamMaxAge, 7 * 24 * time.Hour},
		{"StreamMaxBytes", c.StreamMaxBytes, int64(0)},
		{"IdentityServiceURL", c.IdentityServiceURL, ""},
		{"SecretKey", c.SecretKey.Reveal(), ""},
		{"AllowedHosts", c.AllowedHosts, []string{"localhost", "127.0.0.1", "backend"}},
		{"CORSAllowedOrigins", c.CORSAllowedOrigins, []string{"http://localhost:5173", "http://127.0.0.1:5173", "http://localhost:3000", "http://127.0.0.1:3000"}},
		{"Debug", c.Debug, false},
		{"LogLevel", c.LogLevel, slog.LevelInfo},
		{"LogFormat", c.LogFormat, config.LogText},
	} {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s is %v, want %v", check.name, check.got, check.want)
		}
	}
}

func TestServeReadsEverything(t *testing.T) {
	t.Parallel()
	c := load(t, config.Serve(config.AllRoles()...), production(
		"HUB_HTTP_ADDR=:8000", "HUB_QUERY_ADDR=[::1]:8010", "QUERY_API_URL=http://query-api:8010/", "HUB_OPS_ADDR=0.0.0.0:9000",
		"PROJECTION_DATABASE_URL=host=views dbname=views password=hunter2", "NATS_URL=nats://a:4222, nats://b:4222",
		"HUB_NATS_REPLICAS=3", "HUB_STREAM_MAX_AGE=36h", "HUB_STREAM_MAX_BYTES=10GiB", "IDENTITY_ISSUER=https://login.example/",
		"ALLOWED_HOSTS=.Example.com, [::1]", "CORS_ALLOWED_ORIGINS=https://App.example", "DEBUG=False", "HUB_LOG_LEVEL=warn", "HUB_LOG_FORMAT=text",
	)...)
	for _, check := range []struct{ name, got, want any }{
		{"HTTPAddr", c.HTTPAddr, ":8000"},
		{"QueryAddr", c.QueryAddr, "[::1]:8010"},
		{"QueryAPIURL", c.QueryAPIURL, "http://query-api:8010"},
		{"MigrateDatabaseURL", c.MigrateDatabaseURL.Reveal(), "postgres://hub:hunter2@db:5432/hub"},
		{"ProjectionDatabaseURL", c.ProjectionDatabaseURL.Reveal(), "host=views dbname=views password=hunter2"},
		{"QueryDatabaseURL", c.QueryDatabaseURL.Reveal(), "host=views dbname=views password=hunter2"},
		{"NATSURL", c.NATSURL.Reveal(), "nats://a:4222,nats://b:4222"},
		{"NATSReplicas", c.NATSReplicas, 3},
		{"StreamMaxAge", c.StreamMaxAge, 36 * time.Hour},
		{"StreamMaxBytes", c.StreamMaxBytes, int64(10 << 30)},
		{"IdentityServiceURL", c.IdentityServiceURL, "https://identity.example"},
		{"IdentityIssuer", c.IdentityIssuer, "https://login.example/"},
		{"AllowedHosts", c.AllowedHosts, []string{".example.com", "[::1]"}},
		{"CORSAllowedOrigins", c.CORSAllowedOrigins, []string{"https://app.example"}},
		{"LogLevel", c.LogLevel, slog.LevelWarn},
		{"LogFormat", c.LogFormat, config.LogText},
	} {
		if !reflect.DeepEqual(check.got, check.want) {
			t.Errorf("%s is %v, want %v", check.name, check.got, check.want)
		}
	}
}

func TestWhatMustBeSetDependsOnTheMode(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mode    config.Mode
		environ []string
		want    []string
	}{
		"all roles":                  {config.Serve(config.AllRoles()...), nil, []string{"DATABASE_URL", "IDENTITY_SERVICE_URL", "NATS_URL", "SECRET_KEY"}},
		"no HTTP role":               {config.Serve(config.Relay, config.Projector), nil, []string{"DATABASE_URL", "NATS_URL", "SECRET_KEY"}},
		"DEBUG":                      {config.Serve(config.QueryAPI), []string{"DEBUG=1"}, []string{"DATABASE_URL", "IDENTITY_SERVICE_URL", "NATS_URL"}},
		"migrate":                    {config.Migrate(), nil, []string{"MIGRATE_DATABASE_URL"}},
		"a bad value once":           {config.Migrate(), []string{"DATABASE_URL=mysql://db"}, []string{"DATABASE_URL"}},
		"an issuer for others":       {config.Dev(), []string{"HUB_DEV_IDENTITY_ADDR=:8001"}, []string{"HUB_DEV_IDENTITY_ADDR"}},
		"an issuer outside DEBUG":    {config.DevIdentity(), nil, []string{"DEBUG"}},
		"an issuer that is asked to": {config.DevIdentity(), []string{"DEBUG=false"}, []string{"DEBUG"}},
		"issuer of nobody":           {config.Dev(), []string{"IDENTITY_ISSUER=https://a"}, []string{"IDENTITY_ISSUER"}},
	} {
		found := faults(t, test.mode, test.environ...)
		var names []string
		for fault := range found {
			names = append(names, fault)
		}
		slices.Sort(names)
		if !slices.Equal(names, test.want) {
			t.Errorf("%s: faults %v, want %v", name, found, test.want)
		}
	}
	for _, environ := range [][]string{
		{"HUB_DEV_IDENTITY_ADDR=localhost:8001"}, {"HUB_DEV_IDENTITY_ADDR=[::1]:8001"}, {"HUB_DEV_IDENTITY_ADDR=127.0.0.9:8001"},
		{"HUB_DEV_IDENTITY_ADDR=:8001", "DEBUG=true"}, {"HUB_DEV_IDENTITY_ADDR=:8001", "IDENTITY_SERVICE_URL=https://identity.example"},
	} {
		load(t, config.Dev(), environ...)
	}
	load(t, config.DevIdentity(), "DEBUG=true", "HUB_DEV_IDENTITY_ADDR=:8001")
	load(t, config.Tool())
	load(t, config.Migrate(), "DATABASE_URL=postgres://db/hub")
}

func TestEveryFaultIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	bad := []string{
		"HUB_HTTP_ADDR=8000", "HUB_QUERY_ADDR=localhost:99999", "QUERY_API_URL=query-api:8010", "HUB_OPS_ADDR=:http",
		"HUB_DEV_NATS_ADDR=nats://x:1", "HUB_DATA_DIR=a\nb", "DATABASE_URL=mysql://u:hunter2@db/x", "MIGRATE_DATABASE_URL=hunter2",
		"PROJECTION_DATABASE_URL=postgres://u:hunter2%@db/x", "QUERY_DATABASE_URL=\x01", "NATS_URL=redis://hunter2@x", "NATS_CREDS=hunter2",
		"HUB_NATS_REPLICAS=6", "HUB_STREAM_MAX_AGE=7 days", "HUB_STREAM_MAX_BYTES=10GB", "IDENTITY_SERVICE_URL=https://u:hunter2@x",
		"IDENTITY_ISSUER=https://x?a=b", "HUB_DEV_IDENTITY_ADDR=x", "SECRET_KEY=hunter2", "ALLOWED_HOSTS=http://x", "CORS_ALLOWED_ORIGINS=http://x/",
		"DEBUG=maybe", "HUB_LOG_LEVEL=loud", "HUB_LOG_FORMAT=xml", "HUB_HTP_ADDR=:1",
	}
	found := faults(t, config.Dev(), bad...)
	for _, entry := range bad {
		name, _, _ := strings.Cut(entry, "=")
		if found[name] == "" {
			t.Errorf("%s is not reported", entry)
		}
	}
	if len(found) != len(bad) {
		t.Errorf("%d faults for %d bad values", len(found), len(bad))
	}
	if text := fmt.Sprint(found); strings.Contains(text, "hunter2") {
		t.Errorf("a secret is repeated: %s", text)
	}
}

func TestBadValues(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"HUB_STREAM_MAX_AGE=0", "HUB_STREAM_MAX_AGE=-1d", "HUB_STREAM_MAX_AGE=70000d", "HUB_STREAM_MAX_BYTES=9999999TiB",
		"HUB_STREAM_MAX_BYTES=-1", "HUB_STREAM_MAX_BYTES=1KiB", "NATS_URL=,", "ALLOWED_HOSTS=,", "ALLOWED_HOSTS=localhost:8000",
		"ALLOWED_HOSTS=*.example.com", "CORS_ALLOWED_ORIGINS=*", "CORS_ALLOWED_ORIGINS=null", "IDENTITY_SERVICE_URL=https://x/#",
		"IDENTITY_SERVICE_URL=https://x/?", "IDENTITY_SERVICE_URL=https://:8001", "HUB_DATA_DIR=" + strings.Repeat("x", 70_000),
		"HUB_TLS_CERT=x", "HUB_HTTP_ADDR_FILE=/x", "HUB_=x", "HUB_HTTP_ADDR=127.0.0.1:8010",
	} {
		name, _, _ := strings.Cut(entry, "=")
		if entry == "HUB_HTTP_ADDR=127.0.0.1:8010" {
			name = "HUB_QUERY_ADDR" // the second of two on one address
		}
		if faults(t, config.Dev(), entry)[name] == "" {
			t.Errorf("%.60s is not reported", entry)
		}
	}
}

func TestUnfinishedFeaturesAreRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"HUB_WEBHOOK_ALLOW", "COMMUNICATION_SERVICE_URL", "WORKFLOW_SERVICE_URL",
		"HUB_SIGNING_KEY",
	} {
		message := faults(t, config.Dev(), name+"=hunter2")[name]
		if !strings.Contains(message, "not supported by this version") || strings.Contains(message, "hunter2") {
			t.Errorf("%s: %q", name, message)
		}
	}
}

func TestRateLimitAndRedis(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]int{
		"HUB_RATE_LIMIT=1": 1, "HUB_RATE_LIMIT=6000000": 6_000_000, "HUB_RATE_LIMIT=off": config.RateLimitOff, "DEBUG=true": config.RateLimitOff,
	} {
		if got := load(t, config.Dev(), entry).RateLimit; got != want {
			t.Errorf("%s: %d, want %d", entry, got, want)
		}
	}
	if got := load(t, config.Dev(), "DEBUG=true", "HUB_RATE_LIMIT=7").RateLimit; got != 7 {
		t.Errorf("asked for with DEBUG: %d", got)
	}
	for _, entry := range []string{"HUB_RATE_LIMIT=0", "HUB_RATE_LIMIT=-1", "HUB_RATE_LIMIT=6000001", "HUB_RATE_LIMIT=10/s",
		"REDIS_URL=host:6379", "REDIS_URL=http://:hunter2@host", "REDIS_URL=redis://", "REDIS_URL=redis://host/main", "REDIS_URL=redis://host?read_timeout=hunter2",
		"REDIS_URL=redis://host?skip_verify=true", "REDIS_URL=rediss://host?skip_verify=maybe", "REDIS_URL=rediss://host/?skip_verify=true",
	} {
		name, _, _ := strings.Cut(entry, "=")
		if message := faults(t, config.Dev(), entry)[name]; message == "" || strings.Contains(message, "hunter2") {
			t.Errorf("%s: %q", entry, message)
		}
	}
	for _, mode := range []config.Mode{config.Dev(), config.Tool(), config.Serve(config.QueryAPI)} {
		if message := faults(t, mode, production("REDIS_URL=rediss://:hunter2@host?skip_verify=true")...)["REDIS_URL"]; !strings.Contains(message, "REDIS_TLS_CA") {
			t.Errorf("anybody may be Redis: %q", message)
		}
		load(t, mode, production("DEBUG=true", "REDIS_URL=rediss://:hunter2@host?skip_verify=true")...)
	}
	if got := load(t, config.Dev(), "REDIS_URL=rediss://:pw@host:6379/1").RedisURL.Reveal(); got != "rediss://:pw@host:6379/1" {
		t.Errorf("%q", got)
	}
}

func TestSecretKeyOfProduction(t *testing.T) {
	t.Parallel()
	for _, weak := range []string{
		"2 weak", strings.Repeat("x", 31), "change-me-in-production-0123456789abcdef", "django-insecure-0123456789abcdefghijklmnop",
		"PLEASE-CHANGEME-0123456789abcdefghijklmnop",
	} {
		for name, mode := range map[string]config.Mode{"serve": config.Serve(config.Relay), "dev": config.Dev()} {
			if message := faults(t, mode, production("SECRET_KEY="+weak)...)["SECRET_KEY"]; message == "" || strings.Contains(message, weak) {
				t.Errorf("%s with %q: %q", name, weak, message)
			}
			load(t, mode, production("DEBUG=true", "SECRET_KEY="+weak)...)
		}
	}
}

func TestSecretKeyPrevious(t *testing.T) {
	t.Parallel()
	if got := load(t, config.Serve(config.Relay), production("SECRET_KEY_PREVIOUS=older")...).SecretKeyPrevious; got.Reveal() != "older" {
		t.Errorf("%q", got.Reveal())
	}
	if message := faults(t, config.Serve(config.Relay), production("SECRET_KEY_PREVIOUS="+goodKey)...)["SECRET_KEY_PREVIOUS"]; message == "" || strings.Contains(message, goodKey) {
		t.Errorf("%q", message)
	}
}

func TestSecretsFromFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	database, key := write("database", "postgres://hub:hunter2@db/hub\r\n"), write("key", goodKey+"\n")
	creds := write("creds", "-----BEGIN NATS USER JWT-----\nx\n------END NATS USER JWT------\n")

	c := load(t, config.Serve(config.Relay), "NATS_URL=nats://nats", "DATABASE_URL_FILE="+database, "SECRET_KEY_FILE="+key, "NATS_CREDS_FILE="+creds)
	if c.DatabaseURL.Reveal() != "postgres://hub:hunter2@db/hub" || c.SecretKey.Reveal() != goodKey || !strings.HasPrefix(c.NATSCreds.Reveal(), "-----BEGIN") {
		t.Errorf("got %q, %q, %q", c.DatabaseURL.Reveal(), c.SecretKey.Reveal(), c.NATSCreds.Reveal())
	}
	if byPath := load(t, config.Tool(), "NATS_CREDS="+creds); !strings.HasPrefix(byPath.NATSCreds.Reveal(), "-----BEGIN") {
		t.Errorf("NATS_CREDS as a path: %q", byPath.NATSCreds.Reveal())
	}

	found := faults(t, config.Dev(),
		"DATABASE_URL=postgres://db/hub", "DATABASE_URL_FILE="+database, // both
		"SECRET_KEY_FILE="+write("empty", "\n"), "NATS_URL_FILE="+filepath.Join(folder, "absent"),
		"QUERY_DATABASE_URL_FILE="+folder, "REDIS_URL_FILE="+key, "NATS_CREDS_FILE="+key)
	for _, name := range []string{"DATABASE_URL", "SECRET_KEY_FILE", "NATS_URL_FILE", "QUERY_DATABASE_URL_FILE", "REDIS_URL", "NATS_CREDS"} {
		if found[name] == "" {
			t.Errorf("%s is not reported", name)
		}
	}
	if strings.Contains(fmt.Sprint(found), goodKey) {
		t.Errorf("a secret is repeated: %v", found)
	}
}

func TestSecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	c := load(t, config.Serve(config.AllRoles()...), production(
		"NATS_URL=nats://token-hunter2@a:4222,nats://u:hunter2@b:4222", "QUERY_DATABASE_URL=host=db password=hunter2",
		"MIGRATE_DATABASE_URL=postgres://u:12,hunter2@db/x?sslpassword=hunter2", "PROJECTION_DATABASE_URL=postgres://u:hunter2@a:1,b:2/x")...)
	var logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "config", c, "key", c.SecretKey)
	marshalled, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	described, err := json.Marshal(c.Describe())
	if err != nil {
		t.Fatal(err)
	}
	for how, text := range map[string]string{
		"%v": fmt.Sprint(c), "%+v": fmt.Sprintf("%+v", c), "%#v": fmt.Sprintf("%#v", c), "%x": fmt.Sprintf("%x %q", c.DatabaseURL, c.SecretKey),
		"JSON": string(marshalled), "log": logged.String(), "Describe": string(described),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, goodKey) {
			t.Errorf("%s shows a secret: %s", how, text)
		}
	}
	for name, want := range map[string]string{
		"DATABASE_URL":         "postgres://***@db:5432/hub",
		"NATS_URL":             "nats://***@a:4222,nats://***@b:4222",
		"QUERY_DATABASE_URL":   "***",
		"SECRET_KEY":           "***",
		"HUB_HTTP_ADDR":        "127.0.0.1:8000",
		"HUB_STREAM_MAX_BYTES": "",
	} {
		i := slices.IndexFunc(c.Describe(), func(s config.Setting) bool { return s.Name == name })
		if i < 0 || c.Describe()[i].Value != want {
			t.Errorf("%s is described as %+v, want %q", name, c.Describe()[max(i, 0)], want)
		}
	}
}

func TestParseRoles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		names string
		want  int
	}{{"relay", 1}, {"relay projector relay", 2}, {"all", 5}, {"all relay", 5}, {"", 0}, {"relays", 0}, {"ALL", 0}} {
		roles, err := config.ParseRoles(strings.Fields(test.names))
		if len(roles) != test.want || (err == nil) != (test.want > 0) {
			t.Errorf("%q: got %v, %v", test.names, roles, err)
		}
	}
}

func TestEnsureSecretIsKept(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "data")
	first, err := config.EnsureSecret(folder)
	if err != nil || len(first) < 32 {
		t.Fatalf("got %d bytes, %v", len(first), err)
	}
	again, err := config.EnsureSecret(folder)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("the second call gave another secret: %v", err)
	}
	// The generated text is itself a SECRET_KEY that production accepts.
	load(t, config.Serve(config.Relay), production("SECRET_KEY="+string(first))...)

	if err := os.WriteFile(filepath.Join(folder, "keys", "secret_key"), []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := config.EnsureSecret(folder); err == nil {
		t.Error("a damaged secret was accepted")
	}
}

func TestDeriveKeySeparatesPurposes(t *testing.T) {
	t.Parallel()
	cursor := config.DeriveKey([]byte(goodKey), "cursor")
	if len(cursor) != 32 || !bytes.Equal(cursor, config.DeriveKey([]byte(goodKey), "cursor")) {
		t.Error("a key is not 32 bytes, or differs between two calls")
	}
	if bytes.Equal(cursor, config.DeriveKey([]byte(goodKey), "request hash")) || bytes.Equal(cursor, config.DeriveKey([]byte("other"), "cursor")) {
		t.Error("two purposes or two secrets share a key")
	}
}

func FuzzLoad(f *testing.F) {
	for _, v := range load(&testing.T{}, config.Dev()).Describe() {
		f.Add(v.Name, v.Value)
	}
	f.Add("DATABASE_URL", "postgres://u:p@a:1,b:2/x?sslmode=require")
	f.Add("HUB_STREAM_MAX_AGE", "106752d")
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.HasSuffix(name, "_FILE") || name == "NATS_CREDS" {
			return // these open files
		}
		c, err := config.Load(config.Dev(), []string{name + "=" + value})
		var all *config.Error
		if err != nil && (!errors.As(err, &all) || len(all.Faults) == 0) {
			t.Errorf("an error without faults: %v", err)
		}
		if err == nil && (c.HTTPAddr == "" || c.StreamMaxAge <= 0 || len(c.AllowedHosts) == 0) {
			t.Errorf("accepted, yet not usable: %+v", c)
		}
	})
}
