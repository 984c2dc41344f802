package hubtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority is a certificate authority of one test, with certificates in files that any
// user can read: servers run as another.
type Authority struct {
	tb          testing.TB
	folder      string
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one; its own certificate is in ca.crt.
func NewAuthority(tb testing.TB) *Authority {
	tb.Helper()
	a := &Authority{tb: tb, folder: TempDir(tb)}
	var err error
	a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	a.certificate = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, &a.key.PublicKey, a.key)
	a.must(err)
	a.certificate, err = x509.ParseCertificate(der)
	a.must(err)
	a.write("ca.crt", "CERTIFICATE", der)
	return a
}

func (a *Authority) must(err error) {
	a.tb.Helper()
	if err != nil {
		a.tb.Fatal(err)
	}
}

func (a *Authority) write(name, kind string, der []byte) {
	a.tb.Helper()
	a.must(os.WriteFile(a.Path(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	a.must(os.Chmod(a.Path(name), 0o644)) //nolint:gosec // of a test, and good for nothing else
}

// Path is that of a file of the authority's.
func (a *Authority) Path(name string) string { return filepath.Join(a.folder, name) }

// Issue writes NAME.crt and NAME.key, for this machine and as a client of that name.
func (a *Authority) Issue(name string, until time.Time) {
	a.tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}, a.certificate, &key.PublicKey, a.key)
	a.must(err)
	a.write(name+".crt", "CERTIFICATE", der)
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	a.must(err)
	a.write(name+".key", "PRIVATE KEY", encoded)
}

// Pool trusts the authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Server is the settings of a server, of an issued name, that asks clients for a
// certificate, too.
func (a *Authority) Server(name string) *tls.Config {
	a.tb.Helper()
	return &tls.Config{Certificates: []tls.Certificate{a.pair(name)}, ClientCAs: a.Pool(), ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
}

// Client is the settings of a client that trusts the authority, with the certificate of an
// issued name, or without one when that is empty.
func (a *Authority) Client(name string) *tls.Config {
	a.tb.Helper()
	client := &tls.Config{RootCAs: a.Pool(), MinVersion: tls.VersionTLS12}
	if name != "" {
		client.Certificates = []tls.Certificate{a.pair(name)}
	}
	return client
}

func (a *Authority) pair(name string) tls.Certificate {
	a.tb.Helper()
	pair, err := tls.LoadX509KeyPair(a.Path(name+".crt"), a.Path(name+".key"))
	a.must(err)
	return pair
}
