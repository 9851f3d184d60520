//go:build schematest

package schematest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	_ "github.com/go-sql-driver/mysql"
)

// server is a MariaDB server of its own, on a free port of 127.0.0.1, with root open on its socket.
type server struct {
	port  int
	admin *sql.DB

	cmd *exec.Cmd
}

// startServer makes a data directory below dir and starts a server on it, and waits until it answers.
// With authority its certificate is for localhost and 127.0.0.1; without it the server has no TLS.
func startServer(ctx context.Context, dir string, ca *authority) (*server, error) {
	data, temp := filepath.Join(dir, "data"), filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		return nil, err
	}
	// A server that starts deletes the temporary tables that it finds, those of another server too.
	options := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + temp, "--innodb-log-file-size=8M"}
	if os.Geteuid() == 0 {
		options = append(options, "--user=root")
	}
	install := exec.CommandContext(ctx, "mariadb-install-db", append(options, "--auth-root-authentication-method=normal", "--skip-test-db")...)
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%v: %w (the Debian packages mariadb-server-core and mariadb-client-core have what is needed)\n%s", install.Args, err, out)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "socket")
	options = append(options, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(port), "--socket="+socket, "--pid-file="+filepath.Join(dir, "pid"),
		"--skip-name-resolve", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--max-connections=500")
	if ca != nil {
		cert, key, err := ca.issue(dir)
		if err != nil {
			return nil, err
		}
		options = append(options, "--ssl-cert="+cert, "--ssl-key="+key)
	}
	logPath := filepath.Join(dir, "log")
	logFile, err := os.Create(logPath)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	s := &server{port: port, cmd: exec.Command("mariadbd", options...)}
	s.cmd.Stdout, s.cmd.Stderr = logFile, logFile
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing is left behind, even by a killed test
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.admin, err = sql.Open("mysql", "root@unix("+socket+")/")
	if err != nil {
		return nil, errors.Join(err, s.stop())
	}
	for {
		err := s.admin.PingContext(ctx)
		if err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(logPath)
			return nil, fmt.Errorf("mariadbd does not answer: %w\n%s", errors.Join(err, s.stop()), text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the server without a clean shutdown: its data is thrown away.
func (s *server) stop() error {
	if s.admin != nil {
		s.admin.Close()
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	s.cmd.Wait() // says that it was killed
	return nil
}

// authority is a certificate authority for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "schematest CA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue writes a server's certificate for localhost and 127.0.0.1, and its key, into dir.
func (a *authority) issue(dir string) (certFile, keyFile string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return "", "", err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	return certFile, keyFile, errors.Join(
		os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// forward accepts connections on l until it is closed, and passes each on to a port of 127.0.0.1.
func forward(l net.Listener, port int) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
			if err != nil {
				return
			}
			defer out.Close()
			go func() {
				io.Copy(out, in)
				out.(*net.TCPConn).CloseWrite()
			}()
			io.Copy(in, out)
		}()
	}
}
