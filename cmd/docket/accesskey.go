package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

const accessKeys = "/admin/v1/access-keys"

// accessKey is a key of the SAFEQ API as the server shows it and takes it back.
type accessKey struct {
	ID                   string     `json:"id,omitempty"`
	OrganizationID       string     `json:"organizationId,omitempty"`
	Name                 string     `json:"name"`
	Kind                 string     `json:"kind,omitempty"`
	Active               bool       `json:"active"`
	AllowUnauthenticated bool       `json:"allowUnauthenticated"`
	AllowUntrusted       bool       `json:"allowUntrusted"`
	AutomaticTrust       bool       `json:"automaticTrust"`
	Advanced             bool       `json:"advanced"`
	Rights               []string   `json:"rights"`
	AllowedAddresses     []string   `json:"allowedAddresses"`
	ExpiresAt            *time.Time `json:"expiresAt"`
	Value                string     `json:"value,omitempty"`
	Key                  string     `json:"key,omitempty"`
}

func accessKeyCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "access-key", Short: "Keys of the SAFEQ API"}
	c.AddCommand(accessKeyCreate(r), accessKeyList(r), accessKeyChange(r), accessKeyDelete(r))
	return r.flags(c)
}

// keyFlags are what a key may do.
type keyFlags struct {
	accessKey
	expires string
}

func (f *keyFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&f.Kind, "kind", "General", "General, Embedded, Chrome or Edge")
	flags.BoolVar(&f.Active, "active", true, "may be used")
	flags.BoolVar(&f.AllowUnauthenticated, "allow-unauthenticated", false, "requests need no user token")
	flags.BoolVar(&f.AllowUntrusted, "allow-untrusted", false, "logins need no device token")
	flags.BoolVar(&f.AutomaticTrust, "automatic-trust", false, "devices that register with the key are approved at once")
	flags.BoolVar(&f.Advanced, "advanced", false, "the key has rights of its own (see --right)")
	flags.StringSliceVar(&f.Rights, "right", nil, "SAFEQ permissions, such as ViewUser, joined by commas or repeated")
	flags.StringSliceVar(&f.AllowedAddresses, "address", nil, "addresses and networks from where it may be used (default: all)")
	flags.StringVar(&f.expires, "expires", "", "RFC 3339 time when it ends, \"never\" for none")
}

// expiry reads --expires.
func (f *keyFlags) expiry() (*time.Time, error) {
	if f.expires == "" || f.expires == "never" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, f.expires)
	if err != nil {
		return nil, usage{fmt.Errorf("--expires must be a time such as 2031-01-31T00:00:00Z, or never")}
	}
	return &t, nil
}

func accessKeyCreate(r *remote) *cobra.Command {
	var f keyFlags
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a key of the SAFEQ API and print it, this once", Args: cobra.ExactArgs(1),
		Long:    "Makes a key for an account and those below it. What it may do without a user, you must be allowed to do yourself.",
		Example: "  docket access-key create \"print client\" --allow-untrusted\n  docket access-key create dashboard --allow-unauthenticated --advanced --right ViewReport,ViewAccount",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			f.Name = args[0]
			if f.ExpiresAt, err = f.expiry(); err != nil {
				return err
			}
			var made accessKey
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: accessKeys, Body: f.accessKey}, &made); err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), made)
			}
			say(cmd.ErrOrStderr(), "Key %s (%s). It is shown this once:\n", made.Name, made.ID)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), made.Key)
			return err
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.OrganizationID, "organization", "", "id of the organization whose account it is for (default: yours)")
	c.Flags().StringVar(&f.Value, "value", "", "the key itself, when clients have it already (default: a random UUID)")
	return c
}

func accessKeyList(r *remote) *cobra.Command {
	var organization string
	c := &cobra.Command{
		Use: "list", Short: "List the keys of the SAFEQ API", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			keys, err := everyPage[accessKey](cmd.Context(), r, api, accessKeys, url.Values{"organization": {organization}})
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), keys)
			}
			t := newTable(cmd.OutOrStdout(), "ID", "NAME", "KIND", "FLAGS", "RIGHTS", "FROM", "ENDS", "ORGANIZATION")
			for _, k := range keys {
				ends := "never"
				if k.ExpiresAt != nil {
					ends = moment(*k.ExpiresAt)
				}
				t.row(k.ID, k.Name, k.Kind, k.flags(), strings.Join(k.Rights, ","), strings.Join(k.AllowedAddresses, ","), ends, k.OrganizationID)
			}
			return t.flush()
		},
	}
	c.Flags().StringVar(&organization, "organization", "", "only those of this organization")
	return c
}

// flags are the words of what is set.
func (k accessKey) flags() string {
	var words []string
	for _, f := range []struct {
		set  bool
		word string
	}{{!k.Active, "inactive"}, {k.AllowUnauthenticated, "unauthenticated"}, {k.AllowUntrusted, "untrusted"}, {k.AutomaticTrust, "automatic-trust"}, {k.Advanced, "advanced"}} {
		if f.set {
			words = append(words, f.word)
		}
	}
	return strings.Join(words, ",")
}

func accessKeyChange(r *remote) *cobra.Command {
	var f keyFlags
	var name string
	c := &cobra.Command{
		Use: "change ID", Short: "Change what a key of the SAFEQ API may do; flags that are not given stay", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			path := accessKeys + "/" + url.PathEscape(args[0])
			var k accessKey
			if err := r.get(cmd.Context(), api, path, &k); err != nil {
				return err
			}
			if err := f.onto(&k, name, cmd.Flags().Changed); err != nil {
				return err
			}
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPut, Path: path, Body: k}, &k); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), k)
		},
	}
	f.add(c)
	c.Flags().StringVar(&name, "name", "", "another name")
	return c
}

// onto takes over the flags that were given.
func (f *keyFlags) onto(k *accessKey, name string, changed func(flag string) bool) (err error) {
	for flag, take := range map[string]func(){
		"name":                  func() { k.Name = name },
		"kind":                  func() { k.Kind = f.Kind },
		"active":                func() { k.Active = f.Active },
		"allow-unauthenticated": func() { k.AllowUnauthenticated = f.AllowUnauthenticated },
		"allow-untrusted":       func() { k.AllowUntrusted = f.AllowUntrusted },
		"automatic-trust":       func() { k.AutomaticTrust = f.AutomaticTrust },
		"advanced":              func() { k.Advanced = f.Advanced },
		"right":                 func() { k.Rights = f.Rights },
		"address":               func() { k.AllowedAddresses = f.AllowedAddresses },
		"expires":               func() { k.ExpiresAt, err = f.expiry() },
	} {
		if changed(flag) {
			take()
		}
	}
	return err
}

func accessKeyDelete(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "delete ID...", Short: "Delete keys of the SAFEQ API; they stop working within a second", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			return r.eachID(cmd, ids, http.MethodDelete, accessKeys, "", "deleted")
		},
	}
}
