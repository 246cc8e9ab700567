package qalyptus

import (
	"context"
	"net/http"

	"docket/commands"
	commanded "docket/commands/directory"
	"docket/domain"
	"docket/domain/directory"
	"docket/domain/fault"
	"docket/internal/httpx"
	"docket/readapi/qalyptus"

	"github.com/google/uuid"
)

type userDirectoryBody struct {
	Type              string     `json:"type" minLength:"1"`
	Name              string     `json:"name" minLength:"1"`
	Prefix            *string    `json:"prefix,omitempty" nullable:"true"`
	UserDirectoryName *string    `json:"userDirectoryName,omitempty" nullable:"true"`
	AzureClientID     *string    `json:"azureClientId,omitempty" nullable:"true"`
	AzureTenantID     *string    `json:"azureTenantId,omitempty" nullable:"true"`
	AzureClientSecret *string    `json:"azureClientSecret,omitempty" nullable:"true" maxLength:"4000"`
	HostName          *string    `json:"hostName,omitempty" nullable:"true"`
	Port              int32      `json:"port,omitempty"`
	UserName          *string    `json:"userName,omitempty" nullable:"true"`
	Password          *string    `json:"password,omitempty" nullable:"true" maxLength:"4000"`
	SendNotification  bool       `json:"sendNotification"`
	DefaultUserRole   *uuid.UUID `json:"defaultUserRole,omitempty" nullable:"true"`
	Filter            *string    `json:"filter,omitempty" nullable:"true"`
	Synchronization   string     `json:"synchronization" minLength:"1"`
	Frequency         *string    `json:"frequency,omitempty" nullable:"true"`
	FrequencyTime     *string    `json:"frequencyTime,omitempty" nullable:"true"`
	TimeZone          *string    `json:"timeZone,omitempty" nullable:"true"`
	IsActive          *bool      `json:"isActive,omitempty"`
	OrganizationID    uuid.UUID  `json:"organizationId"`
}

func (b userDirectoryBody) settings() directory.DirectorySettings {
	return directory.DirectorySettings{Type: directory.DirectoryType(b.Type), Name: b.Name, Prefix: text(b.Prefix), UserDirectoryName: text(b.UserDirectoryName),
		AzureClientID: text(b.AzureClientID), AzureTenantID: text(b.AzureTenantID), HostName: text(b.HostName), Port: b.Port, UserName: text(b.UserName),
		SendNotification: b.SendNotification, DefaultUserRole: b.DefaultUserRole, Filter: text(b.Filter), Synchronization: directory.Synchronization(b.Synchronization),
		Frequency: text(b.Frequency), FrequencyTime: text(b.FrequencyTime), TimeZone: text(b.TimeZone), Active: b.IsActive == nil || *b.IsActive}
}

type addUserDirectory struct{ Body userDirectoryBody }

type updateUserDirectory struct {
	ID   uuid.UUID `path:"id"`
	Body userDirectoryBody
}

func registerUserDirectories(w *writes) {
	tags := []string{"User Directory"}
	create[qalyptus.UserDirectory](w, httpx.Op{ID: "185", Path: "/user-directories", Summary: "Add user directory", Tags: tags,
		Permission: "userDirectories.create"}, w.addUserDirectory)
	update[qalyptus.UserDirectory](w, httpx.Op{ID: "188", Path: "/user-directories/{id}", Summary: "Update user directory", Tags: tags,
		Permission: "userDirectories.edit"}, w.updateUserDirectory)
	removeOne(w, httpx.Op{ID: "189", Path: "/user-directories/{id}", Summary: "Delete user directory", Tags: tags, Permission: "userDirectories.delete"}, deleteUserDirectory)
	removeMany(w, httpx.Op{ID: "186", Path: "/user-directories", Summary: "Delete user directories", Tags: tags, Permission: "userDirectories.delete"}, deleteUserDirectory)
	httpx.Register(w.API, httpx.Op{ID: "190", Method: http.MethodPost, Path: "/user-directories/{id}/synchronize", Summary: "Synchronize user directory", Tags: tags,
		Permission: "userDirectories.edit", Success: http.StatusAccepted, Returns: qalyptus.Envelope[qalyptus.Synchronisation]{}}, w.synchronize)
}

func deleteUserDirectory(id domain.ID) commands.Command[directory.UserDirectory] {
	return commanded.DeleteUserDirectory{ID: id}
}

func (w *writes) addUserDirectory(ctx context.Context, in *addUserDirectory) (*httpx.Raw, error) {
	id := commands.NewID(ctx)
	done, err := commands.Send(ctx, w.Bus, commanded.CreateUserDirectory{ID: id, OrganizationID: in.Body.OrganizationID, Settings: in.Body.settings(),
		Password: w.sealed(id, "password", in.Body.Password), AzureClientSecret: w.sealed(id, "azureClientSecret", in.Body.AzureClientSecret)})
	return w.userDirectory(ctx, http.StatusCreated, id, done, err)
}

func (w *writes) updateUserDirectory(ctx context.Context, in *updateUserDirectory) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.UpdateUserDirectory{ID: in.ID, OrganizationID: in.Body.OrganizationID, Settings: in.Body.settings(), Active: in.Body.IsActive,
		Password: w.sealed(in.ID, "password", in.Body.Password), AzureClientSecret: w.sealed(in.ID, "azureClientSecret", in.Body.AzureClientSecret)})
	return w.userDirectory(ctx, http.StatusOK, in.ID, done, err)
}

// sealed is a secret of a user directory as it may be stored; nil for none.
func (w *writes) sealed(id domain.ID, name string, secret *string) []byte {
	if text(secret) == "" {
		return nil
	}
	return w.Vault.Seal(directory.SecretContext(id, name), []byte(*secret))
}

func (w *writes) userDirectory(ctx context.Context, status int, id domain.ID, done commands.Result[directory.UserDirectory], err error) (*httpx.Raw, error) {
	return answer(ctx, w, status, qalyptus.UserDirectoryShape, id, done, err, func(d directory.UserDirectory) qalyptus.UserDirectory {
		return qalyptus.UserDirectoryOf(d, w.names(ctx, d.OrganizationID))
	})
}

// synchronize starts a run and answers when that is recorded.
func (w *writes) synchronize(ctx context.Context, in *byID) (*httpx.Raw, error) {
	done, err := commands.Send(ctx, w.Bus, commanded.StartSyncRun{ID: commands.NewID(ctx), DirectoryID: in.ID})
	if fault.Is(err, fault.Unique) {
		return nil, fault.New(fault.Conflict, "userdirectory.running", "the user directory is being synchronized already")
	}
	if err != nil {
		return nil, err
	}
	return httpx.JSON(http.StatusAccepted, qalyptus.Envelope[qalyptus.Synchronisation]{Data: qalyptus.SynchronisationOf(done.State), IsSuccess: true})
}
