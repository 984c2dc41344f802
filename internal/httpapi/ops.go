package httpapi

import (
	"context"
	"log/slog"
	"net/http/pprof"
	"strings"
)

// The paths of the address for operators, beside livePath and readyPath.
const (
	metricsPath  = "/metrics"
	logLevelPath = "/log-level"
	profilesPath = "/debug/pprof/"
)

// opsPages are what operators' tools read: metrics and profiles of the process.
func (a *API) opsPages() []page {
	pages := []page{
		{strings.TrimSuffix(profilesPath, "/"), pprof.Index}, // a slash at the end means nothing here
		{profilesPath + "cmdline", pprof.Cmdline},
		{profilesPath + "profile", pprof.Profile},
		{profilesPath + "symbol", pprof.Symbol},
		{profilesPath + "trace", pprof.Trace},
		{profilesPath + "{profile}", pprof.Index},
	}
	if a.registry != nil {
		pages = append(pages, page{metricsPath, a.registry.Handler().ServeHTTP})
	}
	return pages
}

// LogLevel is how much a process logs.
type LogLevel struct {
	Level string `json:"level" enum:"debug,info,warn,error" doc:"Lines below this level are not written."`
}

type logLevelInput struct{ Body LogLevel }

type logLevelOutput struct{ Body LogLevel }

func (a *API) getLogLevel(context.Context, *struct{}) (*logLevelOutput, error) {
	return &logLevelOutput{Body: LogLevel{Level: strings.ToLower(a.level.Level().String())}}, nil
}

func (a *API) setLogLevel(ctx context.Context, in *logLevelInput) (*logLevelOutput, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(in.Body.Level)); err != nil {
		return nil, err // the schema lets nothing through that this refuses
	}
	a.log.WarnContext(ctx, "log level changed", "from", a.level.Level(), "to", level)
	a.level.Set(level)
	return a.getLogLevel(ctx, nil)
}
