package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/reactdjango-hub/backend/internal/secretfile"
)

// The setters here check one value and keep it. Their errors end a sentence that
// starts with the variable's name; values that can hold a secret are never quoted.

func text(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if strings.ContainsAny(value, "\r\n") {
			return errors.New("holds a line break: remove it")
		}
		*field(c) = value
		return nil
	}
}

func address(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		host, port, err := net.SplitHostPort(value)
		number, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || strings.ContainsAny(host, "/@ \r\n") {
			return fmt.Errorf("is not an address to listen on: write host:port, as 127.0.0.1:8000 or :8000, not %s", quote(value))
		}
		*field(c) = net.JoinHostPort(host, strconv.FormatUint(number, 10))
		return nil
	}
}

// baseURL takes an http(s) URL that paths are appended to, and drops slashes at
// its end.
func baseURL(field func(*Config) *string) func(*Config, string) error {
	return func(c *Config, value string) error {
		if err := checkHTTPURL(value); err != nil {
			return err
		}
		*field(c) = strings.TrimRight(value, "/")
		return nil
	}
}

// setIssuer keeps the text as it is: an issuer is compared byte by byte, a slash
// at the end included (OIDC Discovery, §4.3).
func setIssuer(c *Config, value string) error {
	if err := checkHTTPURL(value); err != nil {
		return err
	}
	c.IdentityIssuer = value
	return nil
}

func checkHTTPURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return errors.New("is not an http or https URL with a host: write it as https://service.example:8001")
	case u.User != nil:
		return errors.New("holds a user or password: remove it")
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(value, "#"):
		return errors.New("ends in a query or fragment: remove it")
	}
	return nil
}

// databaseURL takes both forms that libpq knows. What is in it is checked when the
// connection is made; here it is only told apart from other things.
func databaseURL(field func(*Config) *Secret) func(*Config, string) error {
	return func(c *Config, value string) error {
		if scheme, _, found := strings.Cut(value, "://"); found && !strings.ContainsAny(scheme, "= ") {
			_, err := url.Parse(value)
			severalHosts := strings.Contains(value, ",") // libpq allows it, net/url does not
			if (scheme != "postgres" && scheme != "postgresql") || (err != nil && !severalHosts) {
				return errors.New("is not a PostgreSQL URL: write it as postgres://user:password@host:5432/database, special characters of the password percent-encoded")
			}
		} else if !strings.Contains(value, "=") {
			return errors.New("is not a PostgreSQL connection: write it as postgres://user:password@host:5432/database or host=… dbname=…")
		}
		*field(c) = Secret(value)
		return nil
	}
}

func setNATSURL(c *Config, value string) error {
	servers := splitList(value)
	if len(servers) == 0 {
		return errors.New("names no server: write it as nats://host:4222, several with commas between")
	}
	for _, server := range servers {
		u, err := url.Parse(server)
		known := err == nil && (u.Scheme == "nats" || u.Scheme == "tls" || u.Scheme == "ws" || u.Scheme == "wss")
		if !known || u.Hostname() == "" {
			return errors.New("is not a list of NATS URLs: write it as nats://host:4222, several with commas between")
		}
	}
	c.NATSURL = Secret(strings.Join(servers, ","))
	return nil
}

// setNATSCreds takes credentials themselves, or, as NATS's own tools do, the path
// of a file of them.
func setNATSCreds(c *Config, value string) error {
	const begin = "-----BEGIN NATS USER JWT-----"
	if !strings.Contains(value, begin) {
		content, err := secretfile.Read(value)
		if err != nil {
			// The text of err would repeat the value, which may be a secret gone wrong.
			return errors.New("is neither NATS credentials nor the path of a file that can be read")
		}
		value = string(content)
	}
	if !strings.Contains(value, begin) {
		return errors.New("names a file that does not hold NATS credentials")
	}
	c.NATSCreds = Secret(value)
	return nil
}

func setReplicas(c *Config, value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > 5 { // JetStream's own limit
		return fmt.Errorf("must be a number from 1 to 5, not %s", quote(value))
	}
	c.NATSReplicas = n
	return nil
}

func setStreamMaxAge(c *Config, value string) error {
	age, err := parseAge(value)
	if err != nil || age < 100*time.Millisecond { // JetStream's own limit
		return fmt.Errorf("must be a duration of at least 100ms, as 7d or 36h, not %s", quote(value))
	}
	c.StreamMaxAge = age
	return nil
}

// parseAge reads Go's durations and whole days, as "7d".
func parseAge(value string) (time.Duration, error) {
	days, found := strings.CutSuffix(value, "d")
	if !found {
		return time.ParseDuration(value)
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	return time.Duration(n) * 24 * time.Hour, nil
}

func setStreamMaxBytes(c *Config, value string) error {
	digits, factor := value, int64(1)
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, found := strings.CutSuffix(value, unit); found {
			digits, factor = strings.TrimSpace(rest), 1<<(10*(i+1))
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	// Below 1 MiB not even a few of the largest events fit.
	if err != nil || n < 0 || n > math.MaxInt64/factor || n*factor < 1<<20 {
		return fmt.Errorf("must be a number of bytes, at least 1MiB, as 1073741824 or 10GiB, not %s", quote(value))
	}
	c.StreamMaxBytes = n * factor
	return nil
}

// maxRateLimit keeps requests apart by at least ten microseconds.
const maxRateLimit = 6_000_000

func setRateLimit(c *Config, value string) error {
	if strings.EqualFold(value, "off") {
		c.RateLimit = RateLimitOff
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 || n > maxRateLimit {
		return fmt.Errorf("must be requests per minute, from 1 to %d, or off, not %s", maxRateLimit, quote(value))
	}
	c.RateLimit = n
	return nil
}

// skipVerify is the parameter by which a Redis URL asks for TLS with anybody.
const skipVerify = "skip_verify"

func setRedisURL(c *Config, value string) error {
	u, err := url.Parse(value)
	if err != nil || (u.Scheme != "redis" && u.Scheme != "rediss") || u.Hostname() == "" {
		return errors.New("is not a Redis URL: write it as redis://:password@host:6379/0, or rediss:// for TLS")
	}
	database := strings.TrimPrefix(u.Path, "/")
	if _, err := strconv.ParseUint(database, 10, 16); err != nil && database != "" {
		return errors.New("ends in what is not the number of a database: write it as redis://:password@host:6379/0")
	}
	for name, given := range u.Query() { // the client's others are set by us, and would be forgotten
		if name != skipVerify || u.Scheme != "rediss" || !slices.Equal(given, []string{"true"}) {
			return errors.New("has parameters that are not used: remove all from the question mark on")
		}
	}
	c.RedisURL = Secret(value)
	return nil
}

func setAllowedHosts(c *Config, value string) error {
	hosts := splitList(value)
	if len(hosts) == 0 {
		return errors.New("names no host, so that no request would be answered: name one, or *")
	}
	for i, host := range hosts {
		bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		if strings.ContainsAny(host, "/@ \r\n") || (host != "*" && strings.Contains(host, "*")) ||
			(strings.Contains(host, ":") && net.ParseIP(bare) == nil) {
			return fmt.Errorf("holds %s: write host names without scheme or port, .example.com for all below it, or *", quote(host))
		}
		hosts[i] = strings.ToLower(host)
	}
	c.AllowedHosts = hosts
	return nil
}

func setOrigins(c *Config, value string) error {
	origins := splitList(value)
	for i, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "" || !strings.EqualFold(u.Scheme+"://"+u.Host, origin) {
			return fmt.Errorf("holds %s: write origins as http://localhost:5173, without a path or a slash at the end", quote(origin))
		}
		origins[i] = strings.ToLower(origin)
	}
	c.CORSAllowedOrigins = origins
	return nil
}

func setDebug(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "true", "1", "yes", "on":
		c.Debug = true
	case "false", "0", "no", "off":
		c.Debug = false
	default:
		return fmt.Errorf("must be true or false, not %s", quote(value))
	}
	return nil
}

func setLogLevel(c *Config, value string) error {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(value, level.String()) {
			c.LogLevel = level
			return nil
		}
	}
	return fmt.Errorf("must be debug, info, warn or error, not %s", quote(value))
}

func setLogFormat(c *Config, value string) error {
	switch format := LogFormat(strings.ToLower(value)); format {
	case LogText, LogJSON:
		c.LogFormat = format
		return nil
	}
	return fmt.Errorf("must be text or json, not %s", quote(value))
}

// splitList takes apart a list with commas between; empty items are dropped.
func splitList(value string) []string {
	var items []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}

// showURL is a URL without password and parameters; what cannot be taken apart is
// masked whole.
func showURL(value string) string {
	if value == "" {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Scheme == "" {
		return mask
	}
	user := ""
	if u.User != nil {
		user = mask + "@" // NATS knows URLs whose user is a token
	}
	return u.Scheme + "://" + user + u.Host + u.Path
}

func showURLs(value string) string {
	servers := splitList(value)
	for i, server := range servers {
		servers[i] = showURL(server)
	}
	return strings.Join(servers, ",")
}

// quote repeats a value that is no secret, cut short.
func quote(value string) string {
	const most = 60 // enough to recognise it
	if len(value) > most {
		value = strings.ToValidUTF8(value[:most], "") + "…"
	}
	return strconv.Quote(value)
}
