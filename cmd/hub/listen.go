package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
)

// listen opens every address before it serves any, so that a port that is taken is
// one clear error and nothing else.
func (s *system) listen() error {
	type front struct {
		addr    string
		handler http.Handler
		tls     *tls.Config
	}
	secured, err := s.cfg.HTTPTLS()
	if err != nil {
		return err
	}
	var fronts []front
	if s.runs(config.CommandAPI) {
		fronts = append(fronts, front{s.cfg.HTTPAddr, s.api.Handler(), secured})
	}
	if s.runs(config.QueryAPI) {
		fronts = append(fronts, front{s.cfg.QueryAddr, s.api.QueryHandler(), secured})
	}
	if s.cfg.OpsAddr != "" {
		fronts = append(fronts, front{s.cfg.OpsAddr, s.api.OpsHandler(), nil})
	}
	var listeners []net.Listener
	for _, f := range fronts {
		listener, err := net.Listen("tcp", f.addr)
		if err != nil {
			for _, open := range listeners {
				_ = open.Close()
			}
			return fmt.Errorf("listening on %s: %w", f.addr, err)
		}
		listeners = append(listeners, listener)
	}
	for i, f := range fronts {
		server := httpapi.NewServer(f.addr, f.handler)
		server.TLSConfig = f.tls
		// Callers that break off are no news, and must not write past the log's form.
		server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
		s.serve(server, s.api.Listener(listeners[i]))
	}
	return nil
}

func (s *system) serve(server *http.Server, listener net.Listener) {
	s.servers = append(s.servers, server)
	s.background.Go(func() {
		serve := server.Serve
		if server.TLSConfig != nil {
			serve = func(l net.Listener) error { return server.ServeTLS(l, "", "") }
		}
		if err := serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.fail(fmt.Errorf("serving %s: %w", server.Addr, err))
		}
	})
}
