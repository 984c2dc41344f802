package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
	"github.com/reactdjango-hub/backend/internal/httpapi"
	"github.com/reactdjango-hub/backend/internal/identity"
)

func newDevIdentity() *cobra.Command {
	return &cobra.Command{
		Use: "dev-identity", Short: "Run the development issuer of tokens alone", Args: cobra.NoArgs,
		Long: "Listens on HUB_DEV_IDENTITY_ADDR and gives tokens to whoever asks: for development\n" +
			"machines only, which say so by DEBUG=true. The iss of its tokens is IDENTITY_SERVICE_URL, so that hubs elsewhere\n" +
			"reach it by that, or else the address it listens on. Its key is kept in HUB_DATA_DIR.",
		RunE: doing(func(cmd *cobra.Command, _ []string) error { return devIdentity(cmd.Context(), cmd.OutOrStdout()) }),
	}
}

func devIdentity(ctx context.Context, out io.Writer) error {
	cfg, err := config.Load(config.DevIdentity(), os.Environ())
	if err != nil {
		return err
	}
	url := cfg.IdentityServiceURL
	if url == "" {
		url = "http://" + reachable(cfg.DevIdentityAddr)
	}
	server, failed, err := serveIssuer(cfg, filepath.Join(cfg.DataDir, "keys"), url)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The development issuer %s is running.\n", url)
	select {
	case <-ctx.Done():
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		return server.Shutdown(stopping)
	case err := <-failed:
		return err
	}
}

// serveIssuer runs a development issuer that is known as url; failed gets the error
// that ends it, and is closed when it has ended.
func serveIssuer(cfg config.Config, keyDir, url string) (server *http.Server, failed <-chan error, err error) {
	issuer, err := identity.NewDevIssuer(keyDir, url)
	if err != nil {
		return nil, nil, err
	}
	listener, err := net.Listen("tcp", cfg.DevIdentityAddr)
	if err != nil {
		return nil, nil, fmt.Errorf("listening for the development issuer: %w", err)
	}
	server = httpapi.NewServer(cfg.DevIdentityAddr, issuer.Handler(httpapi.AllowHosts(issuerHosts(cfg, url))))
	ended := make(chan error, 1)
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			ended <- fmt.Errorf("serving the development issuer: %w", err)
		}
	}()
	return server, ended, nil
}

// issuerHosts are the host names that a development issuer answers under: those of the
// hub, its own, and those of the machine, by which it is probed.
func issuerHosts(cfg config.Config, url string) []string {
	hosts := append([]string{"localhost", "127.0.0.1", "[::1]"}, cfg.AllowedHosts...)
	if known, err := neturl.Parse(url); err == nil && known.Host != "" {
		hosts = append(hosts, known.Hostname())
	}
	return hosts
}
