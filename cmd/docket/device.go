package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

const devices = "/admin/v1/devices"

func deviceCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "device", Short: "Devices that the SAFEQ API trusts or is to trust"}
	c.AddCommand(deviceList(r),
		&cobra.Command{Use: "approve ID...", Short: "Trust devices", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, ids []string) error {
				return r.eachID(cmd, ids, http.MethodPost, devices, "/approve", "approved")
			}},
		&cobra.Command{Use: "remove ID...", Short: "Trust devices no longer, or refuse them", Args: cobra.MinimumNArgs(1),
			RunE: func(cmd *cobra.Command, ids []string) error {
				return r.eachID(cmd, ids, http.MethodDelete, devices, "", "removed")
			}})
	return r.flags(c)
}

func deviceList(r *remote) *cobra.Command {
	var waiting bool
	var organization string
	c := &cobra.Command{
		Use: "list", Short: "List devices", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			q := url.Values{"organization": {organization}}
			if waiting {
				q.Set("approved", "false")
			}
			type device struct {
				ID             string     `json:"id"`
				OrganizationID string     `json:"organizationId"`
				AccessKeyID    string     `json:"accessKeyId"`
				ClientID       string     `json:"clientId"`
				ClientType     string     `json:"clientType"`
				Description    string     `json:"description"`
				KeyType        string     `json:"keyType"`
				Approved       bool       `json:"approved"`
				CodeUntil      *time.Time `json:"codeUntil"`
				RefreshUntil   *time.Time `json:"refreshUntil"`
				RegisteredAt   time.Time  `json:"registeredAt"`
				ModifiedAt     time.Time  `json:"modifiedAt"`
			}
			list, err := everyPage[device](cmd.Context(), r, api, devices, q)
			if err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			t := newTable(cmd.OutOrStdout(), "ID", "CLIENT", "TYPE", "APPROVED", "REGISTERED", "ORGANIZATION", "DESCRIPTION")
			for _, d := range list {
				t.row(d.ID, d.ClientID, d.ClientType, d.Approved, moment(d.RegisteredAt), d.OrganizationID, d.Description)
			}
			return t.flush()
		},
	}
	c.Flags().BoolVar(&waiting, "waiting", false, "only those that wait for approval")
	c.Flags().StringVar(&organization, "organization", "", "only those of this organization")
	return c
}

// everyPage reads a list of the administration API to its end. Empty parameters
// are left out.
func everyPage[T any](ctx context.Context, r *remote, api *client.Client, path string, q url.Values) ([]T, error) {
	for name := range q {
		if q.Get(name) == "" {
			q.Del(name)
		}
	}
	q.Set("limit", "1000")
	all := []T{}
	for {
		var page struct {
			Items []T     `json:"items"`
			Next  *string `json:"next"`
		}
		if err := r.get(ctx, api, path+"?"+q.Encode(), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if page.Next == nil {
			return all, nil
		}
		q.Set("after", *page.Next)
	}
}

// eachID does the same to several things, one after the other, and says which
// were done.
func (r *remote) eachID(cmd *cobra.Command, ids []string, method, path, action, done string) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := api.Do(cmd.Context(), client.Request{Method: method, Path: path + "/" + url.PathEscape(id) + action}, nil); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if !r.json {
			say(cmd.OutOrStdout(), "%s %s\n", done, id)
		}
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), map[string][]string{done: ids})
	}
	return nil
}
