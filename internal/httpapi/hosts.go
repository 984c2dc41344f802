package httpapi

import (
	"net"
	"strings"
)

// AllowHosts is the check of ALLOWED_HOSTS, for servers beside the API.
func AllowHosts(patterns []string) func(header string) bool { return hosts(patterns).allow }

// hosts is a list of allowed host names with Django's meaning: an exact name,
// ".example.com" for a domain and all below it, "*" for any.
type hosts []string

// allow reports whether the Host header of a request names one of ours.
func (h hosts) allow(header string) bool {
	name, ok := hostName(header)
	if !ok {
		return false
	}
	for _, pattern := range h {
		pattern = strings.ToLower(pattern)
		domain, wildcard := strings.CutPrefix(pattern, ".")
		switch {
		case pattern == "*", pattern == name:
			return true
		case wildcard && (name == domain || strings.HasSuffix(name, pattern)):
			return true
		}
	}
	return false
}

// hostName is the name in a Host header, in lower case, without the port and
// without the dot that may end it. A header that is no host name at all is refused
// even where "*" is allowed.
func hostName(header string) (string, bool) {
	name := strings.ToLower(header)
	if strings.HasPrefix(name, "[") {
		end := strings.IndexByte(name, ']')
		if end < 0 || net.ParseIP(name[1:end]) == nil {
			return "", false
		}
		return name[:end+1], validPort(name[end+1:])
	}
	port := ""
	if colon := strings.IndexByte(name, ':'); colon >= 0 {
		name, port = name[:colon], name[colon:]
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return "", false
		}
	}
	name = strings.TrimSuffix(name, ".")
	return name, name != "" && validPort(port)
}

// validPort accepts nothing, or a colon and one to five digits.
func validPort(port string) bool {
	if port == "" {
		return true
	}
	if port[0] != ':' || len(port) < 2 || len(port) > 6 {
		return false
	}
	return strings.Trim(port[1:], "0123456789") == ""
}
