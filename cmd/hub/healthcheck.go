package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/reactdjango-hub/backend/internal/config"
)

// healthcheckTimeout bounds the probe; orchestrators ask again in a few seconds.
const healthcheckTimeout = 3 * time.Second

func newHealthcheck() *cobra.Command {
	var url string
	cmd := &cobra.Command{
		Use: "healthcheck", Short: "Ask the process on this machine whether it can serve; for containers", Args: cobra.NoArgs,
		Long: "Asks /readyz on HUB_OPS_ADDR, or where that is unset on HUB_HTTP_ADDR, of the same\n" +
			"environment. The exit code says it: 0 when the process can serve, 1 when not.",
		RunE: doing(func(cmd *cobra.Command, _ []string) error {
			if url == "" {
				cfg, err := config.Load(config.Tool(), os.Environ())
				if err != nil {
					return err
				}
				url = probeURL(cfg)
			}
			return probe(cmd.Context(), url)
		}),
	}
	cmd.Flags().StringVar(&url, "url", "", "ask this instead")
	return cmd
}

// probeURL is where this machine reaches the process that runs on cfg.
func probeURL(cfg config.Config) string {
	address, scheme := cfg.OpsAddr, "http"
	if address == "" {
		if address = cfg.HTTPAddr; cfg.TLSCert != "" {
			scheme = "https"
		}
	}
	return scheme + "://" + reachable(address) + "/readyz"
}

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, _ := net.SplitHostPort(address) // checked by config
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

func probe(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("the address to ask cannot be read: %w", err)
	}
	// The certificate is for the name that callers use, not for the one of this machine to
	// itself, and nothing is told to who answers.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // see above
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
