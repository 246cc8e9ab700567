package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func openapiCommand() *cobra.Command {
	r := &remote{keyless: true}
	c := &cobra.Command{
		Use: "openapi DIALECT", Short: "Print the OpenAPI document of an API: qalyptus, qlik, admin ...", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := r.client()
			if err != nil {
				return err
			}
			var doc json.RawMessage
			err = r.get(cmd.Context(), api, "/"+url.PathEscape(args[0])+"/openapi.json", &doc)
			if client.Is(err, 404) {
				return usage{fmt.Errorf("the server has no API named %q", args[0])}
			}
			if err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), doc)
		},
	}
	return r.flags(c)
}
