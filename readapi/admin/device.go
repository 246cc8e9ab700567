package admin

import (
	"context"
	"net/http"
	"time"

	"docket/domain"
	"docket/domain/directory"
	"docket/internal/httpx"

	"github.com/jackc/pgx/v5"
)

// Device is a client of the SAFEQ API that asked to be trusted.
type Device struct {
	ID             domain.ID  `json:"id"`
	OrganizationID domain.ID  `json:"organizationId"`
	AccessKeyID    domain.ID  `json:"accessKeyId"`
	ClientID       string     `json:"clientId" doc:"The device's own name for itself."`
	ClientType     string     `json:"clientType"`
	Description    string     `json:"description"`
	KeyType        string     `json:"keyType" doc:"rsa, x509 or ed25519 when it signs its requests, else empty."`
	Approved       bool       `json:"approved"`
	CodeUntil      *time.Time `json:"codeUntil" doc:"Until when it may fetch its first token; null when it did."`
	RefreshUntil   *time.Time `json:"refreshUntil" doc:"Until when it may fetch the next token; null when it has none."`
	RegisteredAt   time.Time  `json:"registeredAt"`
	ModifiedAt     time.Time  `json:"modifiedAt"`
}

// DeviceOf is a device as the command side knows it.
func DeviceOf(d directory.Device) Device {
	out := Device{ID: d.ID, OrganizationID: d.OrganizationID, AccessKeyID: d.AccessKeyID, ClientID: d.ClientID, ClientType: d.ClientType, Description: d.Description,
		KeyType: d.KeyType, Approved: d.Approved, RegisteredAt: d.RegisteredAt, ModifiedAt: d.ModifiedAt}
	if d.CodeHash != nil {
		out.CodeUntil = &d.CodeUntil
	}
	if d.RefreshHash != nil {
		out.RefreshUntil = &d.RefreshUntil
	}
	return out
}

type listDevices struct {
	Part
	Approved httpx.Optional[bool] `query:"approved" doc:"Only those that are approved, or only those that wait for it."`
}

type devicePage struct{ Body Page[Device] }

func registerDevices(r *reads) {
	httpx.Register(r.API, httpx.Op{ID: "list-devices", Method: http.MethodGet, Path: "/devices", Summary: "Get the devices that the SAFEQ API trusts or is to trust",
		Tags: []string{"Devices"}, Permission: "devices.view"}, func(ctx context.Context, in *listDevices) (*devicePage, error) {
		var approved *bool
		if in.Approved.Set {
			approved = &in.Approved.Value
		}
		page, err := partOf(ctx, r, in.Part, deviceSQL, scanDevice, func(d Device) domain.ID { return d.ID }, approved)
		return &devicePage{page}, err
	})
}

const deviceSQL = `select id, organization_id, access_key_id, client_id, client_type, description, key_type, is_approved, code_until, refresh_until, registered_at, modified_at
	from rm_directory.devices where ($6::boolean is null or is_approved = $6)`

func scanDevice(row pgx.CollectableRow) (Device, error) {
	var d Device
	err := row.Scan(&d.ID, &d.OrganizationID, &d.AccessKeyID, &d.ClientID, &d.ClientType, &d.Description, &d.KeyType, &d.Approved, &d.CodeUntil, &d.RefreshUntil,
		&d.RegisteredAt, &d.ModifiedAt)
	d.RegisteredAt, d.ModifiedAt, d.CodeUntil, d.RefreshUntil = d.RegisteredAt.UTC(), d.ModifiedAt.UTC(), utc(d.CodeUntil), utc(d.RefreshUntil)
	return d, err
}
