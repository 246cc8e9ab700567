package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"sort"
	"strings"

	"github.com/caarlos0/env/v11"
)

// Redacted is the settings for people, "KEY=value", secrets left out.
func (c *Config) Redacted() []string {
	v := reflect.ValueOf(c).Elem()
	out := make([]string, v.NumField())
	for i := range out {
		f := v.Type().Field(i)
		value := fmt.Sprint(v.Field(i).Interface())
		out[i] = f.Tag.Get("env") + "=" + redact(value, f.Tag.Get("secret"))
	}
	return out
}

// LogValue lets a Config be logged: redacted.
func (c *Config) LogValue() slog.Value {
	attrs := []slog.Attr{}
	for _, line := range c.Redacted() {
		key, value, _ := strings.Cut(line, "=")
		attrs = append(attrs, slog.String(key, value))
	}
	return slog.GroupValue(attrs...)
}

// redact hides a secret, or what is secret in an address: all but scheme, host
// and path.
func redact(value, secret string) string {
	switch {
	case value == "" || secret == "":
		return value
	case secret == "url":
		if u, err := url.Parse(value); err == nil && u.Scheme != "" && u.Host != "" {
			return u.Scheme + "://" + u.Host + u.Path
		}
	}
	return "(set)"
}

// Unknown lists variables that look like settings and are none: misspelt ones.
func Unknown(environ []string) []string {
	known := map[string]bool{"DOCKET_API_KEY": true} // the command line's own
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		known[t.Field(i).Tag.Get("env")] = true
	}
	var out []string
	for key := range env.ToMap(environ) {
		if strings.HasPrefix(key, "DOCKET_") && !known[key] && !strings.HasPrefix(key, "DOCKET_TEST_") {
			out = append(out, key)
		}
	}
	sort.Strings(out)
	return out
}

// Table describes every key in Markdown. docs/configuration.md holds it.
func Table() string {
	var b strings.Builder
	b.WriteString("| key | default | meaning |\n|---|---|---|\n")
	t := reflect.TypeFor[Config]()
	for i := range t.NumField() {
		f := t.Field(i)
		def := f.Tag.Get("envDefault")
		if def != "" {
			def = "`" + def + "`"
		}
		doc := f.Tag.Get("doc")
		if f.Tag.Get("secret") != "" {
			doc += " Not printed."
		}
		if f.Tag.Get("secret") == "url" {
			doc = strings.TrimSuffix(doc, " Not printed.") + " User, password and options are not printed."
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Tag.Get("env"), def, doc)
	}
	return b.String()
}
