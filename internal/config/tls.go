package config

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
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
	l.checkPair("REDIS_TLS", c.RedisTLSCert, c.RedisTLSKey)
	l.checkAuthorities("NATS_TLS_CA", c.NATSTLSCA)
	l.checkAuthorities("REDIS_TLS_CA", c.RedisTLSCA)
	l.checkRedis()
}

func (l *loader) checkAuthorities(name string, authorities Secret) {
	if authorities != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(authorities.Reveal())) {
		l.faultf(name, "holds no certificate that can be read")
	}
}

// checkRedis finds certificates that would not be looked at.
func (l *loader) checkRedis() {
	c := &l.config
	u, err := url.Parse(c.RedisURL.Reveal())
	if err != nil || l.faulty("REDIS_URL") {
		return
	}
	if u.Scheme != "rediss" && c.RedisTLSCA != "" {
		l.faultf("REDIS_TLS_CA", "has no effect: begin REDIS_URL with rediss://, or unset it")
	}
	if u.Scheme != "rediss" && c.RedisTLSCert != "" {
		l.faultf("REDIS_TLS_CERT", "has no effect: begin REDIS_URL with rediss://, or unset it")
	}
	if u.Query().Has(skipVerify) && !c.Debug && !l.faulty("DEBUG") {
		l.faultf("REDIS_URL", "asks to trust whoever answers (%s): remove that, and name in REDIS_TLS_CA whom to trust", skipVerify)
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
	return clientTLS("NATS_TLS", c.NATSTLSCA, c.NATSTLSCert, c.NATSTLSKey)
}

// RedisTLS is the same of Redis.
func (c Config) RedisTLS() (*tls.Config, error) {
	return clientTLS("REDIS_TLS", c.RedisTLSCA, c.RedisTLSCert, c.RedisTLSKey)
}

// clientTLS is whom to trust, and who we are; nil when neither is set.
func clientTLS(prefix string, authorities, cert, key Secret) (*tls.Config, error) {
	if authorities == "" && cert == "" {
		return nil, nil
	}
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if authorities != "" {
		settings.RootCAs = x509.NewCertPool()
		settings.RootCAs.AppendCertsFromPEM([]byte(authorities.Reveal())) // Load has checked it
	}
	if cert != "" {
		pair, err := tls.X509KeyPair([]byte(cert.Reveal()), []byte(key.Reveal()))
		if err != nil {
			return nil, fmt.Errorf("%s_KEY is not the key of %s_CERT", prefix, prefix) // as above
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return settings, nil
}
