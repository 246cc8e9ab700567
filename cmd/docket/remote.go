package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"docket/cmd/docket/client"
	"docket/cmd/server"
	"docket/internal/config"

	"github.com/spf13/cobra"
)

// remote are the flags of commands that talk to a running server.
type remote struct {
	url, key string
	json     bool
	conns    int  // connections kept open
	keyless  bool // the command gets along without a key
}

// flags adds them to a command and those below it.
func (r *remote) flags(c *cobra.Command) *cobra.Command {
	f := c.PersistentFlags()
	f.StringVar(&r.url, "url", "", "address of the server (default: http:// and DOCKET_HTTP_ADDR)")
	f.StringVar(&r.key, "key", "", "API key (default: DOCKET_API_KEY, then DOCKET_BOOTSTRAP_KEY, then the first administrator's key in the data folder)")
	f.BoolVar(&r.json, "json", false, "print JSON for machines")
	return c
}

// client makes the client that the flags and the environment ask for.
func (r *remote) client() (*client.Client, error) {
	c, err := config.Load()
	if err != nil {
		return nil, err
	}
	address, key := r.url, r.key
	if address == "" {
		address = "http://" + reachable(string(c.HTTPAddr))
	}
	if key == "" {
		key = os.Getenv("DOCKET_API_KEY")
	}
	if key == "" {
		key = c.BootstrapKey
	}
	if key == "" && !r.keyless {
		if key, err = bootstrapKey(c.DataDir); err != nil {
			return nil, err
		}
	}
	return client.New(address, key, max(r.conns, 2)), nil
}

// reachable is an address to call for one to listen on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return address
}

func bootstrapKey(dataDir string) (string, error) {
	file := server.KeyFile(dataDir)
	key, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("no API key: give --key or DOCKET_API_KEY (there is no %s)", file)
	}
	return strings.TrimSpace(string(key)), err
}

// list asks for a page of things and prints it: for machines as the server sent it, for people as a table. Empty
// parameters are left out.
func list[T any](cmd *cobra.Command, r *remote, path string, parameters map[string]string, heads []string, cells func(T) []any) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	query := url.Values{}
	for name, value := range parameters {
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var page struct{ Items []json.RawMessage }
	if err := r.get(cmd.Context(), api, path, &page); err != nil {
		return err
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), page.Items)
	}
	t := newTable(cmd.OutOrStdout(), heads...)
	for _, raw := range page.Items {
		var one T
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		t.row(cells(one)...)
	}
	return t.flush()
}

// get calls and decodes into out.
func (r *remote) get(ctx context.Context, c *client.Client, path string, out any) error {
	return c.Do(ctx, client.Request{Method: http.MethodGet, Path: path}, out)
}
