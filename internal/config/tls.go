package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// pemOf takes text that holds PEM blocks of one kind, as of a certificate file.
func pemOf(kind string, field func(*Config) *Secret) func(*Config, string) error {
	return func(c *Config, value string) error {
		block, _ := pem.Decode([]byte(value))
		if block == nil || !strings.HasSuffix(block.Type, kind) {
			return fmt.Errorf("is not PEM of a %s: set it, or by the name with _FILE the path of a file of it", strings.ToLower(kind))
		}
		*field(c) = Secret(value)
		return nil
	}
}

// checkTLS holds what the certificates and keys must be together.
func (l *loader) checkTLS() {
	c := &l.config
	l.checkPair("HUB_TLS", c.TLSCert, c.TLSKey)
	l.checkPair("NATS_TLS", c.NATSTLSCert, c.NATSTLSKey)
	if c.NATSTLSCA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.NATSTLSCA.Reveal())) {
		l.faultf("NATS_TLS_CA", "holds no certificate that can be read")
	}
}

// checkPair finds a certificate without its key, one that is not of it, and one whose
// time is over, which otherwise only callers would find out.
func (l *loader) checkPair(prefix string, cert, key Secret) {
	if cert == "" && key == "" || l.faulty(prefix+"_CERT") || l.faulty(prefix+"_KEY") {
		return
	}
	if cert == "" || key == "" {
		l.faultf(prefix+"_CERT", "and %s_KEY belong together: set both or neither", prefix)
		return
	}
	pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
	if err != nil {
		l.faultf(prefix+"_KEY", "is not the key of %s_CERT", prefix)
		return
	}
	if time.Now().After(pair.Leaf.NotAfter) {
		l.faultf(prefix+"_CERT", "has expired: renew it")
	}
}

// HTTPTLS is how the command API and the query API serve; nil is plain HTTP.
func (c Config) HTTPTLS() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	pair, err := tls.X509KeyPair([]byte(c.TLSCert.Reveal()), []byte(c.TLSKey.Reveal()))
	if err != nil {
		return nil, errors.New("HUB_TLS_KEY is not the key of HUB_TLS_CERT") // Load has checked it
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// NATSTLS is how NATS is connected to beyond what its URLs say; nil when nothing is set.
func (c Config) NATSTLS() (*tls.Config, error) {
	if c.NATSTLSCA == "" && c.NATSTLSCert == "" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.NATSTLSCA != "" {
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM([]byte(c.NATSTLSCA.Reveal())) // Load has checked it
	}
	if c.NATSTLSCert != "" {
		pair, err := tls.X509KeyPair([]byte(c.NATSTLSCert.Reveal()), []byte(c.NATSTLSKey.Reveal()))
		if err != nil {
			return nil, errors.New("NATS_TLS_KEY is not the key of NATS_TLS_CERT") // as above
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}
