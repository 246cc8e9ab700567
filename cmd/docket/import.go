package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"

	"docket/cmd/docket/client"

	"github.com/spf13/cobra"
)

func importCommand() *cobra.Command {
	r := &remote{}
	c := &cobra.Command{
		Use: "import FILE", Short: "Publish a project: a JSON document, or a zip of it with its templates", Args: cobra.ExactArgs(1),
		Long: `Publishes the project that FILE describes ("-" reads standard input):

  {"name": "Sales", "description": "", "organizationId": "<id, yours unless given>",
   "reports": [{"name": "Revenue", "type": "Excel", "outputFormats": ["Xlsx", "Pdf"], "template": "revenue.xlsx"}]}

A zip holds that as project.json at its top, beside the files that reports name as
their templates. Types: Excel, Word, PowerPoint, Html, QlikEntity.`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			in := cmd.InOrStdin()
			if args[0] != "-" {
				file, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer file.Close()
				in = file
			}
			return r.publish(cmd, in)
		},
	}
	return r.flags(c)
}

func (r *remote) publish(cmd *cobra.Command, in io.Reader) error {
	api, err := r.client()
	if err != nil {
		return err
	}
	content := bufio.NewReader(in)
	head, err := content.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	contentType := "application/json"
	if string(head) == "PK" {
		contentType = "application/zip"
	}
	var raw json.RawMessage
	if err := api.Do(cmd.Context(), client.Request{Method: http.MethodPost, Path: "/admin/v1/projects/import", Body: content, ContentType: contentType}, &raw); err != nil {
		return err
	}
	if r.json {
		return printJSON(cmd.OutOrStdout(), raw)
	}
	var made struct {
		ID      string
		Reports []struct{ ID, Name string }
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		return err
	}
	say(cmd.OutOrStdout(), "project %s\n", made.ID)
	t := newTable(cmd.OutOrStdout(), "REPORT", "NAME")
	for _, report := range made.Reports {
		t.row(report.ID, report.Name)
	}
	return t.flush()
}
