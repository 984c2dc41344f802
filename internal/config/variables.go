package config

// variable is one row of the table of the environment.
type variable struct {
	name    string
	meaning string
	// secret values are masked, and may be read from the file that NAME_FILE names.
	secret bool
	// set checks a value and keeps it. A variable without it belongs to a feature
	// that this version does not have: setting it is a fault.
	set func(*Config, string) error
	// show is the value without its secret part; nil masks a secret whole.
	show func(string) string
	// fallback is the value when unset; it goes through set like any other.
	fallback string
}

// variables is every name of the contract's table, in its order. A feature that
// arrives gives its row a set function.
func variables() []variable {
	return []variable{
		{name: "HUB_HTTP_ADDR", meaning: "command API and front door", set: address(func(c *Config) *string { return &c.HTTPAddr }), fallback: "127.0.0.1:8000"},
		{name: "HUB_QUERY_ADDR", meaning: "query API alone", set: address(func(c *Config) *string { return &c.QueryAddr }), fallback: "127.0.0.1:8010"},
		{name: "QUERY_API_URL", meaning: "where the front door forwards reads when the query API runs elsewhere", set: baseURL(func(c *Config) *string { return &c.QueryAPIURL })},
		{name: "HUB_TLS_CERT", meaning: "certificate chain of the command API and the query API, PEM", secret: true, set: pemOf("CERTIFICATE", func(c *Config) *Secret { return &c.TLSCert })},
		{name: "HUB_TLS_KEY", meaning: "its key, PEM", secret: true, set: pemOf("PRIVATE KEY", func(c *Config) *Secret { return &c.TLSKey })},
		{name: "HUB_OPS_ADDR", meaning: "probes of this process", set: address(func(c *Config) *string { return &c.OpsAddr })},
		{name: "HUB_RATE_LIMIT", meaning: "requests per minute and caller, or off", set: setRateLimit},
		{name: "HUB_DEV_NATS_ADDR", meaning: "lets hub dev listen for NATS clients, which may read the stream", set: address(func(c *Config) *string { return &c.DevNATSAddr })},
		{name: "HUB_WEBHOOK_ALLOW", meaning: "private webhook targets that are allowed"},
		{name: "HUB_DATA_DIR", meaning: "folder for what hub dev keeps", set: text(func(c *Config) *string { return &c.DataDir }), fallback: ".hub"},
		{name: "DATABASE_URL", meaning: "the log", secret: true, set: databaseURL(func(c *Config) *Secret { return &c.DatabaseURL }), show: showURL},
		{name: "MIGRATE_DATABASE_URL", meaning: "the log as its owner, for hub migrate", secret: true, set: databaseURL(func(c *Config) *Secret { return &c.MigrateDatabaseURL }), show: showURL},
		{name: "PROJECTION_DATABASE_URL", meaning: "where read tables are written", secret: true, set: databaseURL(func(c *Config) *Secret { return &c.ProjectionDatabaseURL }), show: showURL},
		{name: "QUERY_DATABASE_URL", meaning: "where the query API reads", secret: true, set: databaseURL(func(c *Config) *Secret { return &c.QueryDatabaseURL }), show: showURL},
		{name: "NATS_URL", meaning: "JetStream, one URL or several", secret: true, set: setNATSURL, show: showURLs},
		{name: "NATS_CREDS", meaning: "NATS credentials, or the path of a file of them", secret: true, set: setNATSCreds},
		{name: "NATS_TLS_CA", meaning: "certificate authorities of NATS, PEM; those of the system if unset", secret: true, set: pemOf("CERTIFICATE", func(c *Config) *Secret { return &c.NATSTLSCA })},
		{name: "NATS_TLS_CERT", meaning: "our certificate for NATS, PEM", secret: true, set: pemOf("CERTIFICATE", func(c *Config) *Secret { return &c.NATSTLSCert })},
		{name: "NATS_TLS_KEY", meaning: "its key, PEM", secret: true, set: pemOf("PRIVATE KEY", func(c *Config) *Secret { return &c.NATSTLSKey })},
		{name: "HUB_NATS_REPLICAS", meaning: "copies of the stream in the cluster", set: setReplicas, fallback: "1"},
		{name: "HUB_STREAM_MAX_AGE", meaning: "how long JetStream keeps events", set: setStreamMaxAge, fallback: "7d"},
		{name: "HUB_STREAM_MAX_BYTES", meaning: "how much JetStream keeps, no limit if unset", set: setStreamMaxBytes},
		{name: "REDIS_URL", meaning: "shared rate limits", secret: true, set: setRedisURL, show: showURL},
		{name: "REDIS_TLS_CA", meaning: "certificate authorities of Redis, PEM; those of the system if unset", secret: true, set: pemOf("CERTIFICATE", func(c *Config) *Secret { return &c.RedisTLSCA })},
		{name: "REDIS_TLS_CERT", meaning: "our certificate for Redis, PEM", secret: true, set: pemOf("CERTIFICATE", func(c *Config) *Secret { return &c.RedisTLSCert })},
		{name: "REDIS_TLS_KEY", meaning: "its key, PEM", secret: true, set: pemOf("PRIVATE KEY", func(c *Config) *Secret { return &c.RedisTLSKey })},
		{name: "IDENTITY_SERVICE_URL", meaning: "where the issuer of tokens is found", set: baseURL(func(c *Config) *string { return &c.IdentityServiceURL })},
		{name: "IDENTITY_ISSUER", meaning: "the iss of tokens, if it is not that URL", set: setIssuer},
		{name: "HUB_DEV_IDENTITY_ADDR", meaning: "the development issuer", set: address(func(c *Config) *string { return &c.DevIdentityAddr }), fallback: "127.0.0.1:8001"},
		{name: "COMMUNICATION_SERVICE_URL", meaning: "outbound messages"},
		{name: "WORKFLOW_SERVICE_URL", meaning: "outbound workflow triggers"},
		{name: "SECRET_KEY", meaning: "the secret that keys are derived from", secret: true, set: func(c *Config, value string) error { c.SecretKey = Secret(value); return nil }},
		{name: "SECRET_KEY_PREVIOUS", meaning: "another secret that keys may be wrapped by, while they are rotated", secret: true, set: func(c *Config, value string) error { c.SecretKeyPrevious = Secret(value); return nil }},
		{name: "HUB_SIGNING_KEY", meaning: "signs audit checkpoints", secret: true},
		{name: "ALLOWED_HOSTS", meaning: "host names that requests may name", set: setAllowedHosts, fallback: "localhost,127.0.0.1,backend"},
		{name: "CORS_ALLOWED_ORIGINS", meaning: "web pages that may call", set: setOrigins, fallback: "http://localhost:5173,http://127.0.0.1:5173,http://localhost:3000,http://127.0.0.1:3000"},
		{name: "DEBUG", meaning: "development machine: weak secrets and the development issuer are accepted", set: setDebug, fallback: "false"},
		{name: "HUB_LOG_LEVEL", meaning: "debug, info, warn or error", set: setLogLevel, fallback: "info"},
		{name: "HUB_LOG_FORMAT", meaning: "text or json", set: setLogFormat},
		{name: "OTEL_EXPORTER_OTLP_ENDPOINT", meaning: "where traces are sent, by OTLP over HTTP; nowhere if unset", set: baseURL(func(c *Config) *string { return &c.OTLPEndpoint })},
		{name: "OTEL_EXPORTER_OTLP_HEADERS", meaning: "headers that are sent along, as name=value,name=value", secret: true, set: setOTLPHeaders},
		{name: "OTEL_EXPORTER_OTLP_CERTIFICATE", meaning: "file of the certificate authorities of that receiver, PEM; those of the system if unset", secret: true, set: setOTLPCertificate},
		{name: "OTEL_EXPORTER_OTLP_PROTOCOL", meaning: "how traces are sent: http/protobuf", set: setOTLPProtocol},
		{name: "OTEL_SERVICE_NAME", meaning: "what traces name this program", set: text(func(c *Config) *string { return &c.ServiceName }), fallback: "hub-backend"},
		{name: "OTEL_TRACES_SAMPLER", meaning: "which traces are recorded: always_on, always_off or traceidratio", set: setSampler, fallback: "always_on"},
		{name: "OTEL_TRACES_SAMPLER_ARG", meaning: "share of traces that traceidratio records, from 0 to 1", set: setTraceRatio},
	}
}
