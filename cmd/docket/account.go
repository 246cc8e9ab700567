package main

import (
	"net/http"
	"net/url"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

// account is what the SAFEQ API knows of an organization.
type account struct {
	OrganizationID  string   `json:"organizationId,omitempty"`
	Number          int      `json:"number,omitempty"`
	Name            string   `json:"name,omitempty"`
	Type            int      `json:"type"`
	DomainNames     []string `json:"domainNames"`
	ApplicationName string   `json:"applicationName"`
	TrustAllClients bool     `json:"trustAllClients"`
	LocationID      int      `json:"locationId"`
	AccessSeconds   int      `json:"accessSeconds"`
	RefreshDays     int      `json:"refreshDays"`
	KeepHours       int      `json:"keepHours"`
	NameLogins      bool     `json:"nameLogins"`
}

func accountCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "account", Short: "What the SAFEQ API knows of an organization"}
	c.AddCommand(accountShow(r), accountSet(r))
	return r.flags(c)
}

func accountPath(organization string) string {
	return "/admin/v1/accounts/" + url.PathEscape(organization)
}

func accountShow(r *remote) *cobra.Command {
	return &cobra.Command{
		Use: "show ORGANIZATION", Short: "Show an organization's account settings", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var a account
			if err := r.get(cmd.Context(), api, accountPath(args[0]), &a); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), a)
		},
	}
}

func accountSet(r *remote) *cobra.Command {
	var f account
	c := &cobra.Command{
		Use: "set ORGANIZATION", Short: "Set an organization's account settings; flags that are not given stay", Args: cobra.ExactArgs(1),
		Example: "  docket account set <id> --domain print.example.com --keep-hours 24",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var a account
			if err := r.get(cmd.Context(), api, accountPath(args[0]), &a); err != nil {
				return err
			}
			f.onto(&a, cmd.Flags().Changed)
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPut, Path: accountPath(args[0]), Body: a}, &a); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), a)
		},
	}
	flags := c.Flags()
	flags.IntVar(&f.Type, "type", 2, "1 vendor, 2 customer, 3 container")
	flags.StringSliceVar(&f.DomainNames, "domain", nil, "host names whose requests are about this account, joined by commas or repeated")
	flags.StringVar(&f.ApplicationName, "application", "", "name that the API gives to clients")
	flags.BoolVar(&f.TrustAllClients, "trust-all-clients", false, "as the API tells clients")
	flags.IntVar(&f.LocationID, "location", 0, "number of its location")
	flags.IntVar(&f.AccessSeconds, "access-seconds", 3600, "life of an access token")
	flags.IntVar(&f.RefreshDays, "refresh-days", 90, "life of a refresh token")
	flags.IntVar(&f.KeepHours, "keep-hours", 168, "until a document that waits expires")
	flags.BoolVar(&f.NameLogins, "name-logins", false, "clients may log in by name or mail address alone")
	return c
}

// onto takes over the flags that were given.
func (f account) onto(a *account, changed func(flag string) bool) {
	for flag, take := range map[string]func(){
		"type":              func() { a.Type = f.Type },
		"domain":            func() { a.DomainNames = f.DomainNames },
		"application":       func() { a.ApplicationName = f.ApplicationName },
		"trust-all-clients": func() { a.TrustAllClients = f.TrustAllClients },
		"location":          func() { a.LocationID = f.LocationID },
		"access-seconds":    func() { a.AccessSeconds = f.AccessSeconds },
		"refresh-days":      func() { a.RefreshDays = f.RefreshDays },
		"keep-hours":        func() { a.KeepHours = f.KeepHours },
		"name-logins":       func() { a.NameLogins = f.NameLogins },
	} {
		if changed(flag) {
			take()
		}
	}
}
