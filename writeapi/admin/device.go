package admin

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/internal/httpx"
	"docket/readapi/admin"

	"github.com/google/uuid"
)

type approveDevice struct {
	ID uuid.UUID `path:"id"`
}

type deviceAnswer struct{ Body admin.Device }

func registerDevices(w *writes) {
	tags := []string{"Devices"}
	httpx.Register(w.API, httpx.Op{ID: "approve-device", Method: http.MethodPost, Path: "/devices/{id}/approve", Summary: "Trust a device", Tags: tags,
		Permission: "devices.approve"}, func(ctx context.Context, in *approveDevice) (*deviceAnswer, error) {
		done, err := commands.Send(ctx, w.Bus, commanded.ApproveDevice{ID: in.ID})
		if err != nil {
			return nil, err
		}
		return &deviceAnswer{admin.DeviceOf(done.State)}, nil
	})
	httpx.Register(w.API, httpx.Op{ID: "delete-device", Method: http.MethodDelete, Path: "/devices/{id}", Summary: "Trust a device no longer, or refuse it", Tags: tags,
		Description: "It can do nothing any more within a second, and may register again.", Permission: "devices.delete", Success: http.StatusNoContent},
		func(ctx context.Context, in *deleteByID) (*struct{}, error) {
			_, err := commands.Send(ctx, w.Bus, commanded.RemoveDevice{ID: in.ID})
			return nil, err
		})
}
