package config

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/reactdjango-hub/backend/internal/secretfile"
)

// maxValueBytes bounds one value: an address list or credentials fit many times.
const maxValueBytes = 64 << 10

// Fault is one thing wrong with the environment.
type Fault struct {
	Name    string `json:"name"`    // the variable
	Message string `json:"message"` // what is wrong and what to do, no secrets
}

// Error is all that is wrong with the environment.
type Error struct{ Faults []Fault }

// Error lists the faults, one a line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("the configuration is not usable:")
	for _, f := range e.Faults {
		fmt.Fprintf(&b, "\n  %s %s", f.Name, f.Message)
	}
	return b.String()
}

// Load reads the environment, as os.Environ gives it, for one mode. The error is
// an *Error that names every fault. An empty value is an unset one, as Compose
// files write it.
func Load(mode Mode, environ []string) (Config, error) {
	l := loader{mode: mode, environ: map[string]string{}}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		l.environ[name] = value // of two, the last one counts, as in os/exec
	}
	for _, v := range variables() {
		l.read(v)
	}
	l.refuseUnknown(environ)
	l.deriveDefaults()
	l.checkTogether()
	if len(l.faults) > 0 {
		return Config{}, &Error{Faults: l.faults}
	}
	return l.config, nil
}

type loader struct {
	mode    Mode
	environ map[string]string
	config  Config
	faults  []Fault
}

func (l *loader) faultf(name, format string, args ...any) {
	l.faults = append(l.faults, Fault{Name: name, Message: fmt.Sprintf(format, args...)})
}

func (l *loader) faulty(name string) bool {
	for _, f := range l.faults {
		if f.Name == name || f.Name == name+"_FILE" {
			return true
		}
	}
	return false
}

// read takes one variable from the environment, its file, or its default.
func (l *loader) read(v variable) {
	value, source, ok := l.value(v)
	if !ok {
		return
	}
	if v.set == nil {
		if source != sourceUnset {
			l.faultf(v.name, "is not supported by this version: unset it (%s)", v.meaning)
		}
		return
	}
	if value == "" && v.fallback != "" {
		value, source = v.fallback, sourceDefault
	}
	if value != "" {
		if err := v.set(&l.config, value); err != nil {
			l.faultf(v.name, "%s", err)
			return
		}
	}
	l.describe(v, value, source)
}

const (
	sourceEnvironment = "environment"
	sourceFile        = "file"
	sourceDefault     = "default"
	sourceUnset       = "unset"
)

// value is what is set for the variable; ok is false after a fault.
func (l *loader) value(v variable) (value, source string, ok bool) {
	value, source = l.environ[v.name], sourceEnvironment
	if path := l.environ[v.name+"_FILE"]; v.secret && path != "" {
		if value != "" {
			l.faultf(v.name, "and %s_FILE are both set: keep one", v.name)
			return "", "", false
		}
		content, err := secretfile.Read(path)
		if err != nil {
			l.faultf(v.name+"_FILE", "cannot be read: %s", err)
			return "", "", false
		}
		// Editors and `echo` end a file with a line feed that is not part of it.
		value, source = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r"), sourceFile
		if value == "" {
			l.faultf(v.name+"_FILE", "names an empty file: put the value into it")
			return "", "", false
		}
	}
	switch {
	case value == "":
		return "", sourceUnset, true
	case len(value) > maxValueBytes:
		l.faultf(v.name, "is longer than %d bytes", maxValueBytes)
		return "", "", false
	case !utf8.ValidString(value) || strings.ContainsFunc(value, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' }):
		l.faultf(v.name, "holds control characters or is not UTF-8: remove them")
		return "", "", false
	}
	return value, source, true
}

func (l *loader) describe(v variable, value, source string) {
	switch {
	case v.show != nil:
		value = v.show(value)
	case v.secret:
		value = Secret(value).String()
	}
	l.config.settings = append(l.config.settings, Setting{Name: v.name, Value: value, Source: source, Meaning: v.meaning})
}

// refuseUnknown reports HUB_ names outside the table: one is a misspelling, and a
// misspelt setting would be forgotten silently.
func (l *loader) refuseUnknown(environ []string) {
	known := map[string]bool{}
	for _, v := range variables() {
		known[v.name] = true
		if v.secret {
			known[v.name+"_FILE"] = true
		}
	}
	for _, entry := range environ { // in the order given, so that reports are stable
		name, _, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, "HUB_") && !known[name] {
			known[name] = true
			l.faultf(name, "is not a variable of this program: correct its spelling or unset it")
		}
	}
}
