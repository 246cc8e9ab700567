package admin

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/internal/vault"
	"docket/readapi/admin"

	"github.com/google/uuid"
)

// AccessKeyBody is what a key of the SAFEQ API may do. It is exported since the
// schema leaves embedded structs out that are not.
type AccessKeyBody struct {
	Name                 string     `json:"name" minLength:"1"`
	Kind                 *string    `json:"kind,omitempty" nullable:"true" enum:"General,Embedded,Chrome,Edge" doc:"General unless given."`
	Active               *bool      `json:"active,omitempty" nullable:"true" doc:"true unless given."`
	AllowUnauthenticated bool       `json:"allowUnauthenticated,omitempty" doc:"Requests need no user token."`
	AllowUntrusted       bool       `json:"allowUntrusted,omitempty" doc:"Logins need no device token. With both flags the rights of users are not looked at."`
	AutomaticTrust       bool       `json:"automaticTrust,omitempty" doc:"Devices that register with the key are approved at once."`
	Advanced             bool       `json:"advanced,omitempty" doc:"The key has rights of its own, which every request is held against."`
	Rights               []string   `json:"rights,omitempty" nullable:"true" maxItems:"100" doc:"Permissions by their SAFEQ names, such as ViewUser; they count only when advanced."`
	AllowedAddresses     []string   `json:"allowedAddresses,omitempty" nullable:"true" doc:"Addresses and networks (10.0.0.0/8) from where it may be used; empty allows all."`
	ExpiresAt            *time.Time `json:"expiresAt,omitempty" nullable:"true" doc:"Never unless given."`
}

func (b AccessKeyBody) settings() directory.AccessKeySettings {
	return directory.AccessKeySettings{Name: b.Name, Kind: directory.AccessKeyKind(text(b.Kind)), Active: b.Active == nil || *b.Active, AllowUnauthenticated: b.AllowUnauthenticated,
		AllowUntrusted: b.AllowUntrusted, AutomaticTrust: b.AutomaticTrust, Advanced: b.Advanced, Rights: b.Rights, AllowedAddresses: b.AllowedAddresses, ExpiresAt: b.ExpiresAt}
}

type createAccessKey struct {
	Body struct {
		AccessKeyBody
		OrganizationID *uuid.UUID `json:"organizationId,omitempty" nullable:"true" doc:"It works for this account and those below it. The caller's own unless given."`
		Value          *string    `json:"value,omitempty" nullable:"true" writeOnly:"true" doc:"16 to 256 visible ASCII characters. A random UUID unless given."`
	}
}

type updateAccessKey struct {
	ID   uuid.UUID `path:"id"`
	Body AccessKeyBody
}

type deleteByID struct {
	ID uuid.UUID `path:"id"`
}

// newAccessKey is a key with its value, which is shown this once.
type newAccessKey struct {
	admin.AccessKey
	Key string `json:"key" doc:"Shown this once."`
}

type (
	newAccessKeyAnswer struct{ Body newAccessKey }
	accessKeyAnswer    struct{ Body admin.AccessKey }
)

func registerAccessKeys(w *writes) {
	tags := []string{"Access keys"}
	httpx.Register(w.API, httpx.Op{ID: "create-access-key", Method: http.MethodPost, Path: "/access-keys", Summary: "Create a key of the SAFEQ API", Tags: tags,
		Description: "Keys that may do without a user what the caller may not do are refused.", Permission: "accessKeys.create", Success: http.StatusCreated}, w.createAccessKey)
	httpx.Register(w.API, httpx.Op{ID: "update-access-key", Method: http.MethodPut, Path: "/access-keys/{id}", Summary: "Change what a key of the SAFEQ API may do", Tags: tags,
		Description: "Replaces everything but the value: what is not given is as it is by default. It takes effect within a second.", Permission: "accessKeys.edit"}, w.updateAccessKey)
	httpx.Register(w.API, httpx.Op{ID: "delete-access-key", Method: http.MethodDelete, Path: "/access-keys/{id}", Summary: "Delete a key of the SAFEQ API", Tags: tags,
		Description: "Sessions and devices that came in with it can do nothing any more, within a second.", Permission: "accessKeys.delete", Success: http.StatusNoContent},
		func(ctx context.Context, in *deleteByID) (*struct{}, error) {
			_, err := commands.Send(ctx, w.Bus, commanded.DeleteAccessKey{ID: in.ID})
			return nil, err
		})
}

func (w *writes) createAccessKey(ctx context.Context, in *createAccessKey) (*newAccessKeyAnswer, error) {
	key := text(in.Body.Value)
	if in.Body.Value == nil {
		key = w.newAccessKey(ctx)
	} else if problem := commanded.CheckAccessKey(key); problem != "" {
		return nil, fault.InvalidField("value", "%s", problem)
	}
	command := commanded.CreateAccessKey{ID: commands.NewID(ctx), Hash: vault.HashToken(key), Settings: in.Body.settings()}
	if in.Body.OrganizationID != nil {
		command.OrganizationID = *in.Body.OrganizationID
	}
	done, err := commands.Send(ctx, w.Bus, command)
	if err != nil {
		return nil, err
	}
	return &newAccessKeyAnswer{newAccessKey{AccessKey: admin.AccessKeyOf(done.State), Key: key}}, nil
}

// newAccessKey is a random UUID, fixed by the request, so that one repeated after
// a crash shows the same key.
func (w *writes) newAccessKey(ctx context.Context) string {
	random, err := hex.DecodeString(w.Vault.HMAC("access key", commands.RequestOf(ctx).ID.String()))
	if err != nil {
		panic(err) // HMAC is hexadecimal
	}
	id := uuid.UUID(random[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4
	return id.String()
}

func (w *writes) updateAccessKey(ctx context.Context, in *updateAccessKey) (*accessKeyAnswer, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateAccessKey{ID: in.ID, Settings: in.Body.settings()})
	if err != nil {
		return nil, err
	}
	return &accessKeyAnswer{admin.AccessKeyOf(done.State)}, nil
}
