package local

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// RunningPostgres is the URL of a database of the private server that another
// process runs on dataDir (PostgresOptions.DataDir), for tools used beside it.
func RunningPostgres(dataDir, database string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dataDir, clusterName, pidFile))
	if err != nil {
		return "", fmt.Errorf("no private PostgreSQL runs on %s: %w", dataDir, err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) <= lineState || strings.TrimSpace(lines[lineState]) != "ready" {
		return "", fmt.Errorf("the private PostgreSQL on %s is not ready", dataDir)
	}
	return socketURL(strings.TrimSpace(lines[lineSocketDir]), database), nil
}

// socketURL addresses a database of a private server.
func socketURL(socketDir, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User("postgres"), Path: "/" + database,
		RawQuery: url.Values{"host": {socketDir}, "port": {"5432"}}.Encode(),
	}
	return u.String()
}
