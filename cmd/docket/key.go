package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func keyCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{Use: "key", Short: "API keys"}
	c.AddCommand(keyCreate(r), keyList(r), keyRevoke(r))
	return r.flags(c)
}

func keyCreate(r *remote) *cobra.Command {
	var description, user, organization string
	var days int
	c := &cobra.Command{
		Use: "create NAME", Short: "Make an API key and print it, this once", Args: cobra.ExactArgs(1),
		Long: "Makes a key for yourself, or with --user for another user whose rights do not exceed yours.",
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			body := map[string]any{"name": args[0], "description": description, "expiryDate": time.Now().Add(time.Duration(days) * 24 * time.Hour).UTC()}
			request := client.Request{Method: http.MethodPost, Path: "/api/v2/api-keys", Body: body}
			if organization != "" && user == "" {
				return usage{fmt.Errorf("--organization needs --user: your own keys are for the organization you work in")}
			}
			if user != "" {
				request.Path, body["userId"] = "/admin/v1/api-keys", user
			}
			if organization != "" {
				body["organizationId"] = organization
			}
			var made struct {
				Data *newKey
				newKey
			}
			if err := api.Do(cmd.Context(), request, &made); err != nil {
				return err
			}
			key := made.newKey
			if made.Data != nil {
				key = *made.Data
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), key)
			}
			say(cmd.ErrOrStderr(), "Key %s (%s) ends %s. It is shown this once:\n", key.Name, key.ID, moment(key.ExpiryDate))
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Key)
			return err
		},
	}
	c.Flags().StringVar(&description, "description", "", "what it is for")
	c.Flags().IntVar(&days, "days", 90, "days until it ends")
	c.Flags().StringVar(&user, "user", "", "id of the user it is for (default: yourself)")
	c.Flags().StringVar(&organization, "organization", "", "with --user: id of the organization it works in (default: yours)")
	return c
}

type newKey struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Key        string    `json:"key"`
	ExpiryDate time.Time `json:"expiryDate"`
}

func keyList(r *remote) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "list", Short: "List your keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			path := "/api/v2/api-keys"
			if all {
				path += "/admin"
			}
			var list struct {
				Data []struct {
					ID          string    `json:"id"`
					Name        string    `json:"name"`
					Description string    `json:"description"`
					ExpiryDate  time.Time `json:"expiryDate"`
					Expired     bool      `json:"expired"`
					User        struct {
						ID   string `json:"id"`
						Name string `json:"name"`
					} `json:"user"`
					Organization struct {
						ID   string `json:"id"`
						Name string `json:"name"`
					} `json:"organization"`
				}
			}
			if err := r.get(cmd.Context(), api, path+"?get_all=true", &list); err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), list.Data)
			}
			t := newTable(cmd.OutOrStdout(), "ID", "NAME", "ENDS", "USER", "ORGANIZATION", "DESCRIPTION")
			for _, k := range list.Data {
				ends := moment(k.ExpiryDate)
				if k.Expired {
					ends = "expired"
				}
				t.row(k.ID, k.Name, ends, k.User.Name, k.Organization.Name, k.Description)
			}
			return t.flush()
		},
	}
	c.Flags().BoolVar(&all, "all", false, "everybody's (needs the permission apiKeys.manageAll)")
	return c
}

func keyRevoke(r *remote) *cobra.Command {
	var any bool
	c := &cobra.Command{
		Use: "revoke ID...", Short: "Revoke keys; they stop working within a second", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			path := "/api/v2/api-keys"
			if any {
				path += "/admin"
			}
			// All or none: the server looks at the whole list first.
			if err := api.Do(cmd.Context(), client.Request{Method: http.MethodDelete, Path: path, Body: ids}, nil); err != nil {
				return err
			}
			if r.json {
				return printJSON(cmd.OutOrStdout(), map[string][]string{"revoked": ids})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "revoked", strings.Join(ids, " "))
			return err
		},
	}
	c.Flags().BoolVar(&any, "any", false, "others' keys too (needs the permission apiKeys.manageAll)")
	return c
}
