package httpapi

import "testing"

func TestAllowedHosts(t *testing.T) {
	t.Parallel()
	list := hosts{"localhost", "Backend", ".example.com", "[::1]"}
	for header, want := range map[string]bool{
		"localhost": true, "LOCALHOST:8000": true, "localhost.": true, "localhost.:8000": true, "backend": true,
		"example.com": true, "a.example.com": true, "a.b.EXAMPLE.com:1": true, "[::1]": true, "[::1]:8000": true,
		"": false, "evil": false, "notexample.com": false, "example.com.evil": false, "localhost:": false,
		"localhost:http": false, "localhost:123456": false, "localhost/x": false, "localhost@evil": false, "[::1": false,
		"[nonsense]": false, "127.0.0.1": false, "local host": false, "localhost\x00": false,
	} {
		if got := list.allow(header); got != want {
			t.Errorf("%q: got %v", header, got)
		}
	}
	if !(hosts{"*"}).allow("anything.at.all:1") || (hosts{"*"}).allow("no/host") || (hosts{}).allow("localhost") {
		t.Error("* allows every name, and an empty list none")
	}
}
