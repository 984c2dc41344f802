package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is whom the database runs as.
type account struct {
	uid, gid int
	// other is set when that is not who we are: only for root.
	other bool
	name  string
}

func (a account) String() string { return a.name }

// databaseUser chooses the account for the data directory of PostgreSQL below
// dir. Whoever owns existing data keeps them. Root hands a new one to `postgres`
// or, where there is none, to `nobody`: PostgreSQL refuses to run as root.
func databaseUser(dir string) (account, error) {
	self := account{uid: os.Getuid(), gid: os.Getgid(), name: fmt.Sprintf("uid %d", os.Getuid())}
	info, err := os.Stat(filepath.Join(dir, clusterName))
	switch {
	case err == nil:
		uid, gid := ownerOf(info)
		if uid == self.uid && uid != 0 {
			return self, nil
		}
		if self.uid != 0 {
			return account{}, fmt.Errorf("the data in %s belong to uid %d and this is uid %d: run as that user, or take another HUB_DATA_DIR", dir, uid, self.uid)
		}
		if uid != 0 {
			return account{uid: uid, gid: gid, other: true, name: fmt.Sprintf("uid %d", uid)}, nil
		}
		return account{}, fmt.Errorf("the data in %s belong to root, and PostgreSQL does not run as root: give them to the user they were made by", dir)
	case errors.Is(err, fs.ErrPermission):
		return account{}, fmt.Errorf("%s cannot be opened by uid %d: run as its owner, or take another HUB_DATA_DIR", dir, self.uid)
	case !errors.Is(err, fs.ErrNotExist):
		return account{}, err
	case self.uid != 0:
		return self, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.Atoi(found.Uid)
		gid, errGID := strconv.Atoi(found.Gid)
		if errUID == nil && errGID == nil && uid != 0 {
			return account{uid: uid, gid: gid, other: true, name: name}, nil
		}
	}
	return account{}, errors.New("PostgreSQL does not run as root and this machine has neither a user `postgres` nor `nobody`: add one, or start as an ordinary user")
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid)
}

// credential is for SysProcAttr; nil leaves the child who we are.
func (a account) credential() *syscall.Credential {
	if !a.other {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)} //nolint:gosec // ids of the system, never negative
}

// canReach tells whether the account may enter dir. It is tried, not worked out
// from modes: lists of access rights and mounts have their say too.
func (a account) canReach(dir string) bool {
	if !a.other {
		return true
	}
	command := exec.Command("/bin/sh", "-c", ":")
	command.Dir = dir
	command.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential()}
	return command.Run() == nil
}

// makeOwnDir makes dir for the account alone.
func (a account) makeOwnDir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if !a.other {
		return nil
	}
	return os.Chown(dir, a.uid, a.gid)
}
