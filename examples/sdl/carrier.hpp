// Carries a pump's requests with libcurl's multi interface, without a thread of the SDK's or the game's. libcurl built
// with its threaded resolver looks names up on a thread of its own, and may wait for it when a transfer times out or is
// removed meanwhile; built with c-ares it does neither. CURLOPT_QUICK_EXIT leaves the thread behind instead of waiting.
#ifndef CARRIER_HPP
#define CARRIER_HPP

#include <convert.hpp>
#include <curl/curl.h>

#include <list>
#include <memory>
#include <string>
#include <vector>

class Carrier {
  public:
    // `authority` is a file with certificates to trust instead of the system's; null for the system's.
    explicit Carrier(const char *authority) : authority_(authority)
    {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        multi_.reset(curl_multi_init());
    }

    ~Carrier()
    {
        transfers_.clear();
        multi_.reset();
        curl_global_cleanup();
    }

    Carrier(const Carrier &) = delete;
    Carrier &operator=(const Carrier &) = delete;

    // Once in each frame: starts what the pump hands out, and answers what has ended.
    void carry(convert::Pump &pump)
    {
        while (auto request = pump.next_request()) {
            start(std::move(*request));
        }
        if (transfers_.empty()) {
            return;
        }
        int running = 0, queued = 0;
        curl_multi_perform(multi_.get(), &running);
        while (const CURLMsg *message = curl_multi_info_read(multi_.get(), &queued)) {
            if (message->msg == CURLMSG_DONE) {
                finish(pump, message->easy_handle, message->data.result);
            }
        }
    }

  private:
    static constexpr size_t longest_response = 32 << 20;

    struct FreeMulti {
        void operator()(CURLM *multi) const { curl_multi_cleanup(multi); }
    };
    struct FreeHeaders {
        void operator()(curl_slist *headers) const { curl_slist_free_all(headers); }
    };

    // Stays where it is while curl has pointers into it.
    struct Transfer {
        Transfer(CURLM *multi, convert::Request &&request) : multi(multi), request(std::move(request)) {}
        ~Transfer()
        {
            curl_multi_remove_handle(multi, easy);
            curl_easy_cleanup(easy);
        }
        Transfer(const Transfer &) = delete;
        Transfer &operator=(const Transfer &) = delete;

        void header(const std::string &line)
        {
            headers.reset(curl_slist_append(headers.release(), line.c_str()));
        }

        CURLM *multi;
        convert::Request request;
        CURL *easy = curl_easy_init();
        std::unique_ptr<curl_slist, FreeHeaders> headers;
        std::string url, response;
    };

    void start(convert::Request &&request)
    {
        Transfer &transfer = transfers_.emplace_back(multi_.get(), std::move(request));
        const convert::Request &asked = transfer.request;
        CURL *easy = transfer.easy;
        transfer.url = asked.url();
        transfer.header("Expect:");
        for (size_t index = 0; index < asked.headers(); index++) {
            const auto [name, value] = asked.header(index);
            transfer.header(std::string(name) + ": " + std::string(value));
        }
        curl_easy_setopt(easy, CURLOPT_URL, transfer.url.c_str());
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer.headers.get());
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https");
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "gzip");
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(asked.timeout()));
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, received);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, &transfer.response);
        if (authority_ != nullptr) {
            curl_easy_setopt(easy, CURLOPT_CAINFO, authority_);
        }
        if (asked.method() == "POST") {
            curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(asked.body().size()));
            curl_easy_setopt(easy, CURLOPT_POSTFIELDS, asked.body().data());
        }
        curl_multi_add_handle(multi_.get(), easy);
    }

    void finish(convert::Pump &pump, CURL *easy, CURLcode result)
    {
        transfers_.remove_if([&](const Transfer &transfer) {
            if (transfer.easy != easy) {
                return false;
            }
            const uint64_t id = transfer.request.id();
            if (result == CURLE_OK) {
                long status = 0;
                curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
                std::vector<ConvertHeader> headers;
                for (const char *name : {"etag", "retry-after", "date"}) {
                    curl_header *found = nullptr;
                    if (curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &found) == CURLHE_OK) {
                        headers.push_back({convert_text(name), convert_text(found->value)});
                    }
                }
                convert_pump_answer(pump.get(), id, static_cast<uint16_t>(status), headers.data(), headers.size(),
                                    convert::text(transfer.response));
            } else {
                pump.fail(id, result != CURLE_COULDNT_RESOLVE_HOST && result != CURLE_COULDNT_CONNECT);
            }
            return true;
        });
    }

    static size_t received(char *data, size_t size, size_t count, void *response)
    {
        auto *body = static_cast<std::string *>(response);
        if (body->size() + size * count > longest_response) {
            return 0;
        }
        body->append(data, size * count);
        return size * count;
    }

    const char *authority_;
    std::unique_ptr<CURLM, FreeMulti> multi_;
    std::list<Transfer> transfers_;
};

#endif
