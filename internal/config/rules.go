package config

import (
	"net"
	"strconv"
	"strings"
)

// deriveDefaults fills what defaults to another variable or depends on the mode.
func (l *loader) deriveDefaults() {
	c := &l.config
	if c.MigrateDatabaseURL == "" {
		c.MigrateDatabaseURL = c.DatabaseURL
	}
	if c.ProjectionDatabaseURL == "" {
		c.ProjectionDatabaseURL = c.DatabaseURL
	}
	if c.QueryDatabaseURL == "" {
		c.QueryDatabaseURL = c.ProjectionDatabaseURL
	}
	if c.LogFormat == "" {
		// People read the log of hub dev, machines that of services.
		c.LogFormat = LogText
		if l.mode.kind == modeServe {
			c.LogFormat = LogJSON
		}
	}
	if c.RateLimit == 0 {
		c.RateLimit = defaultRateLimit
		if c.Debug {
			c.RateLimit = RateLimitOff
		}
	}
	c.TraceRatio = c.ratio()
	l.describeDerived("HUB_RATE_LIMIT", showRateLimit(c.RateLimit))
	l.describeDerived("MIGRATE_DATABASE_URL", showURL(c.MigrateDatabaseURL.Reveal()))
	l.describeDerived("PROJECTION_DATABASE_URL", showURL(c.ProjectionDatabaseURL.Reveal()))
	l.describeDerived("QUERY_DATABASE_URL", showURL(c.QueryDatabaseURL.Reveal()))
	l.describeDerived("HUB_LOG_FORMAT", string(c.LogFormat))
}

func showRateLimit(limit int) string {
	if limit == RateLimitOff {
		return "off"
	}
	return strconv.Itoa(limit)
}

func (l *loader) describeDerived(name, value string) {
	for i, s := range l.config.settings {
		if s.Name == name && s.Source == sourceUnset && value != "" {
			l.config.settings[i].Value, l.config.settings[i].Source = value, sourceDefault
		}
	}
}

// checkTogether holds the rules that need more than one variable.
func (l *loader) checkTogether() {
	l.checkTLS()
	if previous := l.config.SecretKeyPrevious; previous != "" && previous == l.config.SecretKey {
		l.faultf("SECRET_KEY_PREVIOUS", "is the same as SECRET_KEY: unset it")
	}
	switch l.mode.kind {
	case modeServe:
		l.requireServices()
		l.checkSecretKey()
		l.checkAddresses()
	case modeDev:
		if l.config.IdentityIssuer != "" && l.config.IdentityServiceURL == "" && !l.faulty("IDENTITY_SERVICE_URL") {
			l.faultf("IDENTITY_ISSUER", "has no effect without IDENTITY_SERVICE_URL: set both or neither")
		}
		l.checkSecretKey()
		l.checkAddresses()
		l.checkDevIssuer()
	case modeDevIdentity:
		if !l.config.Debug && !l.faulty("DEBUG") {
			l.faultf("DEBUG", "must be true: the development issuer gives tokens to whoever asks, so it runs on development machines alone")
		}
	case modeMigrate:
		l.require("MIGRATE_DATABASE_URL", l.config.MigrateDatabaseURL != "" || l.faulty("DATABASE_URL"),
			"it, or DATABASE_URL, names the database to migrate")
	case modeTool: // whatever the command needs it asks for itself
	}
}

// checkDevIssuer keeps the issuer that `hub dev` embeds on this machine. `hub dev` is for
// development by what it is, but an address that others reach has to be meant.
func (l *loader) checkDevIssuer() {
	c := &l.config
	if c.Debug || c.IdentityServiceURL != "" || l.faulty("IDENTITY_SERVICE_URL") || l.faulty("HUB_DEV_IDENTITY_ADDR") {
		return
	}
	host, _, _ := net.SplitHostPort(c.DevIdentityAddr)
	if ip := net.ParseIP(host); host != "localhost" && !ip.IsLoopback() {
		l.faultf("HUB_DEV_IDENTITY_ADDR", "can be reached from elsewhere, and the development issuer gives tokens to whoever asks: keep it on 127.0.0.1, or set DEBUG=true on a development machine")
	}
}

// requireServices is what `hub serve` does not start itself.
func (l *loader) requireServices() {
	c := &l.config
	l.require("DATABASE_URL", c.DatabaseURL != "", "the roles run on a PostgreSQL that you name")
	l.require("NATS_URL", c.NATSURL != "", "the roles talk over a NATS that you name")
	if l.mode.runs(CommandAPI, QueryAPI) {
		l.require("IDENTITY_SERVICE_URL", c.IdentityServiceURL != "", "it says who may call")
	}
	if !c.Debug {
		l.require("SECRET_KEY", c.SecretKey != "", "all processes share one secret of at least 32 random bytes, as from `openssl rand -base64 48`")
	}
}

func (l *loader) checkSecretKey() {
	if l.config.SecretKey == "" || l.config.Debug {
		return
	}
	if err := checkSecretKey(l.config.SecretKey.Reveal()); err != nil {
		l.faultf("SECRET_KEY", "%s", err)
	}
}

func (l *loader) require(name string, present bool, why string) {
	if !present && !l.faulty(name) {
		l.faultf(name, "must be set: %s", why)
	}
}

// checkAddresses finds two listeners of this process on one address, which would
// otherwise show only as "address already in use".
func (l *loader) checkAddresses() {
	c := &l.config
	var used []struct{ name, address string }
	for _, listener := range []struct {
		name, address string
		listens       bool
	}{
		{"HUB_HTTP_ADDR", c.HTTPAddr, l.mode.runs(CommandAPI)},
		{"HUB_QUERY_ADDR", c.QueryAddr, l.mode.runs(QueryAPI)},
		{"HUB_OPS_ADDR", c.OpsAddr, true},
		{"HUB_DEV_IDENTITY_ADDR", c.DevIdentityAddr, l.mode.kind == modeDev && c.IdentityServiceURL == ""},
		{"HUB_DEV_NATS_ADDR", c.DevNATSAddr, l.mode.kind == modeDev && c.NATSURL == ""},
	} {
		if listener.address == "" || !listener.listens || strings.HasSuffix(listener.address, ":0") {
			continue // port 0 is any free port
		}
		for _, other := range used {
			if collide(listener.address, other.address) {
				l.faultf(listener.name, "is the same address as %s: give each its own port", other.name)
			}
		}
		used = append(used, struct{ name, address string }{listener.name, listener.address})
	}
}

// collide reports whether two addresses cannot be listened on at once: the same
// port, on the same host or one of them on all.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return portA == portB && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}
