package admin

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain/directory"
	"docket/internal/httpx"
	"docket/readapi/admin"

	"github.com/google/uuid"
)

type setAccount struct {
	OrganizationID uuid.UUID `path:"organizationId"`
	Body           struct {
		Type            int      `json:"type,omitempty" minimum:"0" maximum:"3" doc:"1 vendor, 2 customer (unless given), 3 container."`
		DomainNames     []string `json:"domainNames,omitempty" nullable:"true" doc:"Host names without a port. A request to one of them is about this account."`
		ApplicationName *string  `json:"applicationName,omitempty" nullable:"true" doc:"Docket unless given."`
		TrustAllClients bool     `json:"trustAllClients,omitempty"`
		LocationID      int32    `json:"locationId,omitempty" minimum:"0"`
		AccessSeconds   int32    `json:"accessSeconds,omitempty" minimum:"0" doc:"Life of an access token, 60 to 86400; 3600 unless given."`
		RefreshDays     int32    `json:"refreshDays,omitempty" minimum:"0" doc:"Life of a refresh token; 90 unless given."`
		KeepHours       int32    `json:"keepHours,omitempty" minimum:"0" doc:"Until a document that waits expires; 168 unless given."`
		NameLogins      bool     `json:"nameLogins,omitempty" doc:"Clients may log in by name or mail address alone."`
	}
}

type accountAnswer struct{ Body admin.Account }

func registerAccounts(w *writes) {
	httpx.Register(w.API, httpx.Op{ID: "set-account", Method: http.MethodPut, Path: "/accounts/{organizationId}", Summary: "Set the account settings of an organization",
		Description: "Replaces all of them: what is not given is as it is by default.", Tags: []string{"Accounts"}, Permission: "organizations.edit"}, w.setAccount)
}

func (w *writes) setAccount(ctx context.Context, in *setAccount) (*accountAnswer, error) {
	b := in.Body
	done, err := commands.Send(ctx, w.Bus, commanded.SetAccount{OrganizationID: in.OrganizationID, Settings: directory.AccountSettings{
		Type: directory.AccountType(b.Type), DomainNames: b.DomainNames, ApplicationName: text(b.ApplicationName), TrustAllClients: b.TrustAllClients, LocationID: b.LocationID,
		AccessSeconds: b.AccessSeconds, RefreshDays: b.RefreshDays, KeepHours: b.KeepHours, NameLogins: b.NameLogins}})
	if err != nil {
		return nil, err
	}
	return &accountAnswer{admin.AccountOf(done.State)}, nil
}
