// Package config reads the environment once, at the start of a process: what is
// wrong with it is reported all at once, before anything is opened, and nothing
// that is set is silently ignored. The variables are those of the contract, §1;
// variables.go is the one table of them.
package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// Role is one part of the system that `hub serve` runs.
type Role string

// The roles, as `hub serve` names them.
const (
	CommandAPI Role = "command-api"
	QueryAPI   Role = "query-api"
	Relay      Role = "relay"
	Projector  Role = "projector"
	Reactor    Role = "reactor"
)

// AllRoles is what "all" stands for.
func AllRoles() []Role { return []Role{CommandAPI, QueryAPI, Relay, Projector, Reactor} }

// ParseRoles reads the arguments of `hub serve`: names of roles, or "all". Naming
// one twice is naming it once.
func ParseRoles(names []string) ([]Role, error) {
	if len(names) == 0 {
		return nil, fmt.Errorf("name at least one role: %s, or all", joinRoles(AllRoles()))
	}
	var roles []Role
	for _, name := range names {
		switch {
		case name == "all":
			roles = append(roles, AllRoles()...)
		case slices.Contains(AllRoles(), Role(name)):
			roles = append(roles, Role(name))
		default:
			return nil, fmt.Errorf("%q is not a role; the roles are %s, or all", name, joinRoles(AllRoles()))
		}
	}
	slices.Sort(roles)
	return slices.Compact(roles), nil
}

func joinRoles(roles []Role) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, ", ")
}

// Mode is what the process is for: it decides the defaults and what must be set.
// Make one with Dev, Serve, DevIdentity, Migrate or Tool.
type Mode struct {
	kind  modeKind
	roles []Role
}

type modeKind int

const (
	modeTool modeKind = iota
	modeDev
	modeServe
	modeDevIdentity
	modeMigrate
)

// Dev is `hub dev`: everything has a default.
func Dev() Mode { return Mode{kind: modeDev, roles: AllRoles()} }

// Serve is `hub serve` with these roles: what they depend on must be named.
func Serve(roles ...Role) Mode { return Mode{kind: modeServe, roles: roles} }

// DevIdentity is `hub dev-identity`: for development machines, which say so.
func DevIdentity() Mode { return Mode{kind: modeDevIdentity} }

// Migrate is `hub migrate`: only the database must be named.
func Migrate() Mode { return Mode{kind: modeMigrate} }

// Tool is any other command: values are checked, none is required.
func Tool() Mode { return Mode{kind: modeTool} }

func (m Mode) runs(roles ...Role) bool {
	return slices.ContainsFunc(roles, func(r Role) bool { return slices.Contains(m.roles, r) })
}

// Config is the environment, checked and typed. An empty value means that the
// variable is unset and has no default; in `hub dev` that is: embed it.
type Config struct {
	HTTPAddr  string
	QueryAddr string
	// TLSCert and TLSKey, as PEM, make these two speak HTTPS.
	TLSCert, TLSKey Secret
	QueryAPIURL     string
	OpsAddr         string
	DevNATSAddr     string
	DevIdentityAddr string

	DataDir string

	// DatabaseURL and its kin are connection URLs or keyword strings of libpq. The
	// other three default to it as the contract says.
	DatabaseURL           Secret
	MigrateDatabaseURL    Secret
	ProjectionDatabaseURL Secret
	QueryDatabaseURL      Secret

	// NATSURL is one URL or several with commas between; NATSCreds the content of
	// a credentials file.
	NATSURL   Secret
	NATSCreds Secret
	// What NATS is connected to with, as PEM: whom to trust, and who we are.
	NATSTLSCA, NATSTLSCert, NATSTLSKey Secret
	NATSReplicas                       int
	StreamMaxAge                       time.Duration
	StreamMaxBytes                     int64 // 0 is no limit

	// IdentityServiceURL is where discovery starts; IdentityIssuer the `iss` to
	// expect, empty when it is that URL.
	IdentityServiceURL string
	IdentityIssuer     string

	// SecretKey is empty when it is to be generated: see EnsureSecret.
	SecretKey Secret
	// SecretKeyPrevious is known beside it while keys are rotated.
	SecretKeyPrevious Secret

	// RateLimit is how many requests a caller has in a minute, or RateLimitOff.
	RateLimit int
	// RedisURL is where processes count them together, empty for nowhere.
	RedisURL Secret
	// What Redis is connected to with, as NATS is.
	RedisTLSCA, RedisTLSCert, RedisTLSKey Secret

	AllowedHosts       []string
	CORSAllowedOrigins []string

	Debug     bool
	LogLevel  slog.Level
	LogFormat LogFormat

	// OTLPEndpoint is where traces are sent, empty for nowhere; OTLPCertificate whom to
	// trust there, as PEM.
	OTLPEndpoint    string
	otlpHeaders     Secret
	OTLPCertificate Secret
	// ServiceName is what traces name this program.
	ServiceName string
	// TraceRatio is the share of traces that are recorded.
	TraceRatio float64
	sampler    string
	ratioSet   bool

	settings []Setting
}

// RateLimitOff lets callers send as many requests as they like.
const RateLimitOff = -1

// defaultRateLimit stops a client that runs wild and nobody else: it is more than one
// process answers on two cores.
const defaultRateLimit = 600_000

// LogFormat is how log lines are written.
type LogFormat string

// The log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Setting is one variable as `hub config check` lists it.
type Setting struct {
	Name    string `json:"name"`
	Value   string `json:"value"`  // secrets masked
	Source  string `json:"source"` // "environment", "file", "default" or "unset"
	Meaning string `json:"meaning"`
}

// Describe lists every variable with its value in this process, secrets masked,
// in the order of the contract.
func (c Config) Describe() []Setting { return slices.Clone(c.settings) }
